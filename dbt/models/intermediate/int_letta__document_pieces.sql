{{ config(materialized='view') }}
-- The text of each message, in pieces no longer than a chunk; most messages are one piece.
{%- set size = var('letta_document_chunk_size', 4000) | int %}
{%- set most = var('letta_document_longest_message', 16777216) | int %}

with messages as (

    select
        message_key,
        agent_version,
        agent_id,
        conversation_key,
        conversation_id,
        message_id,
        message_index,
        created_at,
        {{ dbt.concat([
            "message_type", "': '",
            "coalesce(nullif(text, ''), nullif(reasoning, ''), nullif(summary, ''), tool_call_text, tool_return_text, '')",
        ]) }} as said
    from {{ ref('letta__message_wide') }}
    where message_type in (
        {%- for type in var('letta_document_message_types', [
            'user_message', 'assistant_message', 'reasoning_message', 'tool_call_message', 'tool_return_message',
            'approval_request_message', 'summary_message',
        ]) %}
        '{{ type }}'{{ "," if not loop.last }}
        {%- endfor %}
    )

),

-- As many numbers as the longest message may have pieces; only the few long messages are joined with them.
numbers as (

    {{ dbt.generate_series(most // size + 1) | indent(4) }}

),

-- Grouped, so that databases measure each long text once, not once for each number.
long_messages as (

    select
        message_key,
        max(length(said)) as characters
    from messages
    where length(said) > {{ size }}
    group by message_key

),

cuts as (

    select
        long_messages.message_key,
        cast(numbers.generated_number - 1 as {{ dbt.type_int() }}) as piece_index
    from long_messages
    inner join numbers
        on (numbers.generated_number - 1) * {{ size }} < long_messages.characters

)

select
    messages.message_key,
    messages.agent_version,
    messages.agent_id,
    messages.conversation_key,
    messages.conversation_id,
    messages.message_id,
    messages.message_index,
    messages.created_at,
    coalesce(cuts.piece_index, 0) as piece_index,
    case
        when cuts.piece_index is null then messages.said
        else substring(messages.said, cuts.piece_index * {{ size }} + 1, {{ size }})
    end as piece
from messages
left join cuts
    on cuts.message_key = messages.message_key
