{{ letta_incremental() }}
-- One row for each time a tool was called, with what became of it.
--
-- What a model calls the same (agent, tool_call_id) can be several calls. A call is a new one unless the last
-- thing seen of that id is a request for approval that was not answered by a denial or a return: then it is
-- the same call again. What ends calls, returns and denials, ends them in order, the first the first. What the
-- user answers, a denial or what their own tool returned, the server repeats as a return, which ends no other.
{%- set by_pair = "partition by agent_id, pair_id order by created_at, sequence, event_rank, position, idx, message_id" %}
{%- set so_far = by_pair ~ " rows between unbounded preceding and current row" %}

with events as (

    select
        events.*,
        case when event = 'returned' or (event = 'decided' and not approve) then 1 else 0 end as is_end
    from {{ ref('int_letta__tool_events') }} as events
    where {{ letta_is_changed() }}

),

ended as (

    select
        events.*,
        sum(is_end) over ({{ so_far }}) as ends_so_far
    from events

),

sightings as (

    select
        ended.*,
        case
            when lag(message_type) over ({{ by_pair }}) = 'approval_request_message'
                and lag(ends_so_far) over ({{ by_pair }}) = ends_so_far
                then 0
            else 1
        end as is_new
    from ended
    where event = 'seen'

),

told as (

    select
        ended.*,
        coalesce(sightings.is_new, 0) as is_new
    from ended
    left join sightings
        on sightings.tool_event_key = ended.tool_event_key

),

numbered as (

    select
        told.*,
        sum(is_new) over ({{ so_far }}) as call_number
    from told

),

-- Only what begins or ends a call: a return that directly follows an answer repeats it.
turning as (

    select
        numbered.*,
        lag(is_end) over ({{ by_pair }}) as last_is_end,
        lag(is_answer) over ({{ by_pair }}) as last_is_answer
    from numbered
    where is_new = 1 or is_end = 1

),

ends as (

    select
        turning.*,
        sum(
            case
                when is_end = 0 then 0
                when last_is_end = 1 and last_is_answer and not is_answer then 0
                else 1
            end
        ) over ({{ so_far }}) as end_number
    from turning

),

returns as (

    select
        ends.*,
        row_number() over (
            partition by agent_id, pair_id, end_number
            order by created_at, sequence, event_rank, position, idx, message_id
        ) as return_index
    from ends
    where event = 'returned'

),

decisions as (

    select
        numbered.*,
        row_number() over (
            partition by agent_id, pair_id, call_number
            order by created_at desc, sequence desc, position desc, idx desc, message_id desc
        ) as decision_index
    from numbered
    where event = 'decided'

),

seen as (

    select
        agent_id,
        pair_id,
        call_number,
        count(*) as times_seen,
        max(case when message_type = 'approval_request_message' then 1 else 0 end) as asked
    from numbered
    where event = 'seen'
    group by agent_id, pair_id, call_number

)

select
    calls.item_key as tool_call_key,
    calls.agent_id,
    calls.tool_call_id,
    cast(calls.call_number as {{ dbt.type_bigint() }}) as call_number,
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
    seen.times_seen,
    seen.asked = 1 as is_approval_requested,
    decisions.approve as is_approved,
    decisions.created_at as decided_at,
    decisions.reason as decision_reason,
    returns.tool_event_key is not null as is_returned,
    returns.created_at as returned_at,
    returns.status as return_status,
    returns.tool_return,
    case
        when decisions.approve = false then 'denied'
        when returns.tool_event_key is null then 'never_returned'
        else coalesce(returns.status, 'unknown')
    end as outcome,
    {{ letta_seconds('calls.created_at', 'returns.created_at') }} as tool_seconds,
    calls.agent_version
from numbered as calls
inner join seen
    on seen.agent_id = calls.agent_id
    and seen.pair_id = calls.pair_id
    and seen.call_number = calls.call_number
left join decisions
    on decisions.agent_id = calls.agent_id
    and decisions.pair_id = calls.pair_id
    and decisions.call_number = calls.call_number
    and decisions.decision_index = 1
left join returns
    on returns.agent_id = calls.agent_id
    and returns.pair_id = calls.pair_id
    and returns.end_number = calls.call_number
    and returns.return_index = 1
where calls.is_new = 1
