-- One row per conversation of an agent, and one per agent for messages outside of any.
with messages as (

    select
        agent_id,
        conversation_id,
        min(created_at) as first_message_at,
        max(created_at) as last_message_at,
        count(*) as messages,
        {{ letta_total("case when message_type = 'user_message' and author = 'user' then 1 else 0 end") }} as user_messages,
        {{ letta_total("case when message_type = 'assistant_message' then 1 else 0 end") }} as assistant_messages
    from {{ ref('int_letta__messages') }}
    group by agent_id, conversation_id

),

named as (

    select agent_id, id as conversation_id
    from {{ ref('stg_letta__conversations') }}

    union

    select agent_id, conversation_id
    from messages

),

keyed as (

    select
        {{ letta_key(['agent_id', 'conversation_id']) }} as conversation_key,
        agent_id,
        conversation_id
    from named

),

turns as (

    select
        conversation_key,
        count(*) as turns,
        {{ letta_total('runs') }} as runs,
        avg(latency_seconds) as average_latency_seconds,
        max(latency_seconds) as longest_latency_seconds
    from {{ ref('letta__turns') }}
    group by conversation_key

),

steps as (

    select
        conversation_key,
        count(*) as steps,
        {{ letta_total('prompt_tokens') }} as prompt_tokens,
        {{ letta_total('completion_tokens') }} as completion_tokens,
        {{ letta_total('total_tokens') }} as total_tokens,
        sum(cost) as cost,
        {{ letta_total('case when is_priced then 0 else 1 end') }} as steps_without_price,
        {{ letta_total("case when feedback = 'positive' then 1 else 0 end") }} as positive_feedback,
        {{ letta_total("case when feedback = 'negative' then 1 else 0 end") }} as negative_feedback
    from {{ ref('letta__step_costs') }}
    group by conversation_key

),

tools as (

    select
        conversation_key,
        count(*) as tool_calls,
        {{ letta_total("case when return_status = 'error' then 1 else 0 end") }} as tool_errors
    from {{ ref('int_letta__tool_calls') }}
    group by conversation_key

)

select
    keyed.conversation_key,
    keyed.agent_id,
    agents.name as agent_name,
    keyed.conversation_id,
    keyed.conversation_id is null as is_default,
    conversations.summary as title,
    coalesce(conversations.created_at, messages.first_message_at) as created_at,
    messages.first_message_at,
    messages.last_message_at,
    coalesce(messages.messages, 0) as messages,
    coalesce(messages.user_messages, 0) as user_messages,
    coalesce(messages.assistant_messages, 0) as assistant_messages,
    coalesce(turns.turns, 0) as turns,
    coalesce(turns.runs, 0) as runs,
    turns.average_latency_seconds,
    turns.longest_latency_seconds,
    coalesce(tools.tool_calls, 0) as tool_calls,
    coalesce(tools.tool_errors, 0) as tool_errors,
    coalesce(steps.steps, 0) as steps,
    steps.prompt_tokens,
    steps.completion_tokens,
    steps.total_tokens,
    steps.cost,
    coalesce(steps.steps_without_price, 0) as steps_without_price,
    coalesce(steps.positive_feedback, 0) as positive_feedback,
    coalesce(steps.negative_feedback, 0) as negative_feedback
from keyed
left join messages
    on messages.agent_id = keyed.agent_id
    and coalesce(messages.conversation_id, '') = coalesce(keyed.conversation_id, '')
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = keyed.agent_id
left join {{ ref('stg_letta__conversations') }} as conversations
    on conversations.id = keyed.conversation_id
left join turns
    on turns.conversation_key = keyed.conversation_key
left join steps
    on steps.conversation_key = keyed.conversation_key
left join tools
    on tools.conversation_key = keyed.conversation_key
