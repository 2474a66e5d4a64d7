{{ letta_incremental() }}
-- One row per tool call, with its approval and its return. Several calls may have the same (agent, tool_call_id);
-- macros/letta_pairing.sql distinguishes them.

with events as (

    select * from {{ ref('int_letta__tool_events') }}
    where {{ letta_is_changed() }}

),

happened as (

    select
        agent_id,
        message_id,
        position,
        idx,
        tool_call_id,
        event_rank as kind,
        case when is_answer then 1 else 0 end as is_answer,
        case when is_end then 1 else 0 end as is_end,
        created_at,
        sequence,
        message_type
    from events

),

{{ letta_pairs() }}

select
    calls.item_key as tool_call_key,
    calls.agent_id,
    calls.tool_call_id,
    cast(paired.call_number as {{ dbt.type_bigint() }}) as call_number,
    calls.message_id,
    calls.position,
    calls.idx,
    calls.conversation_key,
    calls.conversation_id,
    calls.turn_id,
    calls.run_id,
    calls.step_id,
    calls.name as tool_name,
    calls.arguments,
    calls.created_at as called_at,
    paired.times_seen,
    paired.asked = 1 as is_approval_requested,
    decisions.approve as is_approved,
    decisions.created_at as decided_at,
    decisions.reason as decision_reason,
    paired.return_message_id is not null as is_returned,
    returns.created_at as returned_at,
    returns.status as return_status,
    returns.tool_return,
    {{ letta_outcome('decisions.approve', 'returns.status') }} as outcome,
    {{ letta_seconds('calls.created_at', 'returns.created_at') }} as tool_seconds,
    calls.agent_version
from paired
inner join events as calls
    on calls.event = 'seen'
    and calls.agent_id = paired.agent_id
    and calls.message_id = paired.message_id
    and calls.position = paired.position
    and calls.idx = paired.idx
left join events as decisions
    on decisions.event = 'decided'
    and decisions.agent_id = paired.agent_id
    and decisions.message_id = paired.decision_message_id
    and decisions.position = paired.decision_position
    and decisions.idx = paired.decision_idx
left join events as returns
    on returns.event = 'returned'
    and returns.agent_id = paired.agent_id
    and returns.message_id = paired.return_message_id
    and returns.position = paired.return_position
    and returns.idx = paired.return_idx
