-- One row for each user, by the turns that they began; one more for those of users that are not known.
with turns as (

    select * from {{ ref('letta__turns') }}

)

select
    {{ letta_key(['user_id']) }} as user_key,
    user_id,
    min(started_at) as first_turn_at,
    max(started_at) as last_turn_at,
    count(distinct agent_id) as agents,
    count(distinct conversation_key) as conversations,
    count(*) as turns,
    {{ letta_total('user_messages') }} as user_messages,
    avg(latency_seconds) as average_latency_seconds,
    {{ letta_total('tool_calls') }} as tool_calls,
    {{ letta_total('tool_errors') }} as tool_errors,
    {{ letta_total('steps') }} as steps,
    {{ letta_total('prompt_tokens') }} as prompt_tokens,
    {{ letta_total('completion_tokens') }} as completion_tokens,
    {{ letta_total('total_tokens') }} as total_tokens,
    sum(cost) as cost,
    {{ letta_total('steps_without_price') }} as steps_without_price
from turns
group by user_id
