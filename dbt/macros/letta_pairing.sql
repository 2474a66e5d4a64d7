{#- Made by generate.py from letta_source/export/pairing.py, whose rule the export runs, too.

letta_events returns common table expressions over calls, approvals and returns (staging rows); the last is
`event`. letta_pairs returns some over `happened` (events with their times); the last is `paired`, one row per
call with the keys of its decision and of its end. -#}
{% macro letta_events() %}
first_call as (
    select agent_id, message_id, tool_call_id,
        row_number() over (partition by agent_id, message_id order by position, idx) as nth
    from calls c
),
event as (
    select agent_id, message_id, position, idx, tool_call_id, 0 as kind, 0 as is_answer, 0 as is_end
    from calls c
    union all
    select a.agent_id, a.message_id, a.position, a.idx, coalesce(f.tool_call_id, a.tool_call_id),
        case when a.type = 'tool' then 2 else 1 end, 1,
        case when a.type = 'tool' or a.approve = false then 1 else 0 end
    from approvals a
    left join first_call f on f.agent_id = a.agent_id and f.message_id = a.tool_call_id and f.nth = 1
    union all
    select agent_id, message_id, position, idx, tool_call_id, 2, 0, 1
    from returns r
)
{%- endmacro %}

{% macro letta_pairs() %}
placed as (
    select e.agent_id, e.message_id, e.position, e.idx, e.kind, e.is_answer, e.is_end,
        e.created_at, e.sequence, e.message_type,
        -- A call without an id is one of its own.
        dense_rank() over (
            partition by e.agent_id order by e.tool_call_id,
                case when e.tool_call_id is null then e.message_id end,
                case when e.tool_call_id is null then e.position end,
                case when e.tool_call_id is null then e.idx end
        ) as pair
    from happened e
),
ordered as (
    select placed.*, row_number() over (
        partition by agent_id, pair order by created_at, sequence, kind, position, idx, message_id
    ) as nth
    from placed
),
ended as (
    select ordered.*, count(case when is_end = 1 then 1 end) over (
        partition by agent_id, pair order by nth rows unbounded preceding
    ) as ends
    from ordered
),
seen as (
    select agent_id, pair, nth, case
        when lag(message_type) over (partition by agent_id, pair order by nth) = 'approval_request_message'
            and lag(ends) over (partition by agent_id, pair order by nth) = ends
            then 0 else 1
        end as is_new
    from ended where kind = 0
),
numbered as (
    select e.*, coalesce(s.is_new, 0) as is_new, count(case when s.is_new = 1 then 1 end) over (
        partition by e.agent_id, e.pair order by e.nth rows unbounded preceding
    ) as call_number
    from ended e
    left join seen s on s.agent_id = e.agent_id and s.pair = e.pair and s.nth = e.nth
),
turning as (
    select numbered.*, case
        when is_end = 0 then 0
        -- A return that directly follows an answer repeats it.
        when is_answer = 0 and lag(is_end) over (partition by agent_id, pair order by nth) = 1
            and lag(is_answer) over (partition by agent_id, pair order by nth) = 1
            then 0 else 1
        end as counts
    from numbered where is_new = 1 or is_end = 1
),
counted as (
    select turning.*, count(case when counts = 1 then 1 end) over (
        partition by agent_id, pair order by nth rows unbounded preceding
    ) as end_number
    from turning
),
returned as (
    select counted.*, row_number() over (partition by agent_id, pair, end_number order by nth) as rn
    from counted where kind = 2
),
decided as (
    select numbered.*, row_number() over (partition by agent_id, pair, call_number order by nth desc) as rn
    from numbered where kind = 1
),
sighted as (
    select agent_id, pair, call_number, count(*) as times_seen,
        max(case when message_type = 'approval_request_message' then 1 else 0 end) as asked
    from numbered where kind = 0 group by agent_id, pair, call_number
),
paired as (
    select n.agent_id, n.message_id, n.position, n.idx, n.call_number, n.created_at as called_at,
        s.times_seen, s.asked,
        d.message_id as decision_message_id, d.position as decision_position, d.idx as decision_idx,
        d.created_at as decided_at,
        r.message_id as return_message_id, r.position as return_position, r.idx as return_idx,
        r.created_at as returned_at, r.is_answer
    from numbered n
    join sighted s on s.agent_id = n.agent_id and s.pair = n.pair and s.call_number = n.call_number
    left join decided d
        on d.agent_id = n.agent_id and d.pair = n.pair and d.call_number = n.call_number and d.rn = 1
    left join returned r
        on r.agent_id = n.agent_id and r.pair = n.pair and r.end_number = n.call_number and r.rn = 1
    where n.is_new = 1
)
{%- endmacro %}

{% macro letta_outcome(approve, status) %}
case when {{ approve }} = false then 'denied' when return_message_id is null then 'never_returned'
    else coalesce({{ status }}, 'unknown') end
{%- endmacro %}
