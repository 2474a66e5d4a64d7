{{ letta_incremental() }}
-- A conversation as text, in chunks of at most letta_document_chunk_size characters.
--
-- A piece is a message, or a part of a message that is longer than a chunk. A piece longer than half a chunk is a
-- chunk of its own. Shorter pieces are grouped by their start: those that start in the same half of a chunk's length
-- are one chunk. Each is at most half a chunk long, so no group is longer than a chunk. A piece's start is the length
-- of everything before it, so later messages change only the last chunk, and no recursion is needed.
{%- set half = (var('letta_document_chunk_size', 4000) | int) // 2 %}
{%- set in_order = "partition by conversation_key order by message_index, piece_index"
    ~ " rows between unbounded preceding and current row" %}

with pieces as (

    select
        pieces.*,
        -- Includes the line break after it.
        length(piece) + 1 as characters,
        case when length(piece) + 1 > {{ half }} then 1 else 0 end as is_alone
    from {{ ref('int_letta__document_pieces') }} as pieces
    where {{ letta_is_changed() }}

),

parted as (

    select
        pieces.*,
        sum(is_alone) over ({{ in_order }}) as part_index
    from pieces

),

placed as (

    select
        parted.*,
        sum(case when is_alone = 1 then 0 else characters end) over (
            partition by conversation_key, part_index order by message_index, piece_index
            rows between unbounded preceding and current row
        ) - case when is_alone = 1 then 0 else characters end as starts_at
    from parted

),

chunked as (

    select
        placed.*,
        cast(floor(starts_at / {{ half }}) as {{ dbt.type_bigint() }}) as bucket,
        row_number() over (
            partition by
                conversation_key, part_index, is_alone, cast(floor(starts_at / {{ half }}) as {{ dbt.type_bigint() }})
            order by message_index, piece_index
        ) as index_in_chunk
    from placed

),

chunks as (

    select
        conversation_key,
        part_index,
        is_alone,
        bucket,
        min(agent_id) as agent_id,
        min(agent_version) as agent_version,
        min(conversation_id) as conversation_id,
        max(case when index_in_chunk = 1 then message_key end) as first_message_key,
        max(case when index_in_chunk = 1 then piece_index end) as first_piece_index,
        min(message_index) as first_message_index,
        max(message_index) as last_message_index,
        min(created_at) as from_created_at,
        max(created_at) as to_created_at,
        count(distinct message_key) as messages,
        {{ dbt.listagg('piece', 'chr(10)', 'order by message_index, piece_index') }} as text
    from chunked
    group by conversation_key, part_index, is_alone, bucket

)

select
    {{ letta_key(['chunks.first_message_key', 'chunks.first_piece_index']) }} as document_key,
    chunks.conversation_key,
    chunks.agent_id,
    agents.name as agent_name,
    chunks.conversation_id,
    conversations.summary as conversation_title,
    row_number() over (
        partition by chunks.conversation_key order by chunks.first_message_index, chunks.first_piece_index
    ) - 1 as chunk_index,
    chunks.from_created_at,
    chunks.to_created_at,
    chunks.first_message_index,
    chunks.last_message_index,
    chunks.messages,
    length(chunks.text) as characters,
    chunks.text,
    chunks.agent_version
from chunks
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = chunks.agent_id
left join {{ ref('stg_letta__conversations') }} as conversations
    on conversations.id = chunks.conversation_id
