{{ letta_incremental() }}
-- Events of tool calls: seen (a call), decided (an answer to a request for approval), returned.
{%- set item = ['event.agent_id', 'event.message_id', 'event.position', 'event.idx'] %}
{%- set named %}case event.kind when 0 then 'seen' when 1 then 'decided' else 'returned' end{% endset %}

with messages as (

    select * from {{ ref('int_letta__messages') }}
    where {{ letta_is_changed() }}

),

calls as (

    select * from {{ ref('stg_letta__agent_messages__tool_calls') }}
    where {{ letta_is_changed() }}

),

approvals as (

    select * from {{ ref('stg_letta__agent_messages__approvals') }}
    where {{ letta_is_changed() }}

),

returns as (

    select * from {{ ref('stg_letta__agent_messages__tool_returns') }}
    where {{ letta_is_changed() }}

),

{{ letta_events() }}

select
    {{ letta_key([named] + item) }} as tool_event_key,
    {{ letta_key(item) }} as item_key,
    event.agent_id,
    event.message_id,
    event.position,
    event.idx,
    event.tool_call_id,
    coalesce(event.tool_call_id, {{ letta_key(item) }}) as pair_id,
    {{ named }} as event,
    event.is_answer = 1 as is_answer,
    event.is_end = 1 as is_end,
    event.kind as event_rank,
    messages.created_at,
    messages.sequence,
    messages.message_type,
    messages.conversation_key,
    messages.conversation_id,
    messages.turn_id,
    messages.run_id,
    messages.step_id,
    calls.name,
    calls.arguments,
    approvals.approve,
    case when event.is_answer = 0 then returns.status when event.kind = 2 then approvals.status end as status,
    case when event.is_answer = 0 then returns.tool_return when event.kind = 2 then approvals.tool_return end
        as tool_return,
    approvals.reason,
    messages.agent_version
from event
inner join messages
    on messages.agent_id = event.agent_id
    and messages.message_id = event.message_id
    and messages.position = event.position
left join calls
    on event.kind = 0
    and calls.agent_id = event.agent_id
    and calls.message_id = event.message_id
    and calls.position = event.position
    and calls.idx = event.idx
left join approvals
    on event.is_answer = 1
    and approvals.agent_id = event.agent_id
    and approvals.message_id = event.message_id
    and approvals.position = event.position
    and approvals.idx = event.idx
left join returns
    on event.kind = 2
    and event.is_answer = 0
    and returns.agent_id = event.agent_id
    and returns.message_id = event.message_id
    and returns.position = event.position
    and returns.idx = event.idx
