{{ letta_incremental() }}
-- A conversation as text, in chunks of at most letta_document_chunk_size characters.
--
-- A piece (a message, or a part of one that is longer than a chunk) of more than half a chunk is a chunk of its
-- own. The others go together by where they begin: those whose start falls into the same half of a chunk's
-- length. As each is at most half a chunk long, none of these is longer than a chunk; as a piece's place is the
-- length of what precedes it, what is said later changes no chunk but the last, and no recursion is needed.
{%- set half = (var('letta_document_chunk_size', 4000) | int) // 2 %}
{%- set in_order = "partition by conversation_key order by message_index, piece_index"
    ~ " rows between unbounded preceding and current row" %}

with pieces as (

    select
        pieces.*,
        -- With the line break that follows it.
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
