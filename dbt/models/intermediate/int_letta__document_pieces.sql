{{ config(materialized='view') }}
-- The text of each message, in pieces that are no longer than a chunk: most messages are one.
{%- set size = var('letta_document_chunk_size', 4000) | int %}
{%- set most = var('letta_document_longest_message', 16777216) | int %}

with messages as (

    select
        message_key,
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

-- As many as the longest message may have pieces, and only the long messages meet them.
numbers as (

    {{ dbt.generate_series(most // size + 1) | indent(4) }}

)

select
    message_key,
    agent_id,
    conversation_key,
    conversation_id,
    message_id,
    message_index,
    created_at,
    0 as piece_index,
    said as piece
from messages
where length(said) <= {{ size }}

union all

select
    messages.message_key,
    messages.agent_id,
    messages.conversation_key,
    messages.conversation_id,
    messages.message_id,
    messages.message_index,
    messages.created_at,
    cast(numbers.generated_number - 1 as {{ dbt.type_int() }}) as piece_index,
    substring(
        messages.said, cast((numbers.generated_number - 1) * {{ size }} + 1 as {{ dbt.type_int() }}), {{ size }}
    ) as piece
from messages
inner join numbers
    on (numbers.generated_number - 1) * {{ size }} < length(messages.said)
where length(messages.said) > {{ size }}
