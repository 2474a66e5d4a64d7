-- Made by dbt/compile_report.py: models of the dbt package, compiled for DuckDB.

CREATE TABLE int_letta__messages AS
with messages as (
    select * from stg_letta__agent_messages
    where 1 = 1
),
runs as (
    select * from stg_letta__runs
),
placed as (
    select
        messages.*,
        runs.conversation_id,
        case
            -- The server writes logins, heartbeats and summaries in the user's name, as JSON with a type.
            when messages.message_type = 'user_message' and (
    replace(replace(replace(replace(substring(messages.text, 1, 40), ' ', ''), chr(9), ''), chr(10), ''), chr(13), '') like '{"type":"login"%' or
    replace(replace(replace(replace(substring(messages.text, 1, 40), ' ', ''), chr(9), ''), chr(10), ''), chr(13), '') like '{"type":"heartbeat"%' or
    replace(replace(replace(replace(substring(messages.text, 1, 40), ' ', ''), chr(9), ''), chr(10), ''), chr(13), '') like '{"type":"system_alert"%'
) then 'system'
            when messages.message_type in ('user_message', 'approval_response_message') then 'user'
            when messages.message_type in ('system_message', 'event_message', 'summary_message') then 'system'
            when messages.message_type = 'tool_return_message' then 'tool'
            else 'agent'
        end as author
    from messages
    left join runs
        on runs.id = messages.run_id
),
following as (
    select
        placed.*,
        lag(message_type) over (
            partition by agent_id, conversation_id order by created_at, sequence, position, id
        ) as last_type,
        lag(run_id) over (
            partition by agent_id, conversation_id order by created_at, sequence, position, id
        ) as last_run_id
    from placed
    where author <> 'system'
),
opened as (
    select
        following.*,
        case
            when message_type <> 'user_message' then 0
            -- Several messages of one request are one turn.
            when last_type = 'user_message' and coalesce(last_run_id, '') = coalesce(run_id, '') then 0
            else 1
        end as opens_turn
    from following
    union all
    select
        placed.*,
        null as last_type,
        null as last_run_id,
        0 as opens_turn
    from placed
    where author = 'system'
),
counted as (
    select
        opened.*,
        row_number() over (
            partition by agent_id, conversation_id order by created_at, sequence, position, id
        ) as message_index,
        sum(opens_turn) over (
            partition by agent_id, conversation_id order by created_at, sequence, position, id
            rows between unbounded preceding and current row
        ) as turn_index
    from opened
),
named as (
    select
        counted.*,
        first_value(id) over (
            partition by agent_id, conversation_id, turn_index order by message_index
            rows between unbounded preceding and unbounded following
        ) as turn_message_id
    from counted
)
select
    md5(cast(coalesce(cast(named.agent_id as TEXT), '') || '|' || coalesce(cast(id as TEXT), '') || '|' || coalesce(cast(position as TEXT), '') as TEXT)) as message_key,
    named.agent_id,
    id as message_id,
    position,
    md5(cast(coalesce(cast(named.agent_id as TEXT), '') || '|' || coalesce(cast(conversation_id as TEXT), '') as TEXT)) as conversation_key,
    conversation_id,
    cast(message_index as bigint) as message_index,
    cast(turn_index as bigint) as turn_index,
    case when turn_index > 0 then md5(cast(coalesce(cast(named.agent_id as TEXT), '') || '|' || coalesce(cast(turn_message_id as TEXT), '') as TEXT)) end as turn_id,
    created_at,
    sequence,
    message_type,
    author,
    name,
    sender_id,
    run_id,
    step_id,
    is_err,
    text,
    reasoning,
    summary,
    versions.agent_version
from named
left join int_letta__agent_versions as versions
    on versions.agent_id = named.agent_id;

CREATE TABLE int_letta__tool_events AS
-- Events of tool calls: seen (a call), decided (an answer to a request for approval), returned.
with messages as (
    select * from int_letta__messages
    where 1 = 1
),
calls as (
    select * from stg_letta__agent_messages__tool_calls
    where 1 = 1
),
approvals as (
    select * from stg_letta__agent_messages__approvals
    where 1 = 1
),
returns as (
    select * from stg_letta__agent_messages__tool_returns
    where 1 = 1
),
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
select
    md5(cast(coalesce(cast(case event.kind when 0 then 'seen' when 1 then 'decided' else 'returned' end as TEXT), '') || '|' || coalesce(cast(event.agent_id as TEXT), '') || '|' || coalesce(cast(event.message_id as TEXT), '') || '|' || coalesce(cast(event.position as TEXT), '') || '|' || coalesce(cast(event.idx as TEXT), '') as TEXT)) as tool_event_key,
    md5(cast(coalesce(cast(event.agent_id as TEXT), '') || '|' || coalesce(cast(event.message_id as TEXT), '') || '|' || coalesce(cast(event.position as TEXT), '') || '|' || coalesce(cast(event.idx as TEXT), '') as TEXT)) as item_key,
    event.agent_id,
    event.message_id,
    event.position,
    event.idx,
    event.tool_call_id,
    coalesce(event.tool_call_id, md5(cast(coalesce(cast(event.agent_id as TEXT), '') || '|' || coalesce(cast(event.message_id as TEXT), '') || '|' || coalesce(cast(event.position as TEXT), '') || '|' || coalesce(cast(event.idx as TEXT), '') as TEXT))) as pair_id,
    case event.kind when 0 then 'seen' when 1 then 'decided' else 'returned' end as event,
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
    and returns.idx = event.idx;

CREATE TABLE int_letta__tool_calls AS
-- One row per tool call, with its approval and its return. Several calls may have the same (agent, tool_call_id);
-- macros/letta_pairing.sql distinguishes them.
with events as (
    select * from int_letta__tool_events
    where 1 = 1
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
select
    calls.item_key as tool_call_key,
    calls.agent_id,
    calls.tool_call_id,
    cast(paired.call_number as bigint) as call_number,
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
case when decisions.approve = false then 'denied' when return_message_id is null then 'never_returned'
    else coalesce(returns.status, 'unknown') end as outcome,
cast(date_diff('microsecond', calls.created_at, returns.created_at) / 1000000.0 as double) as tool_seconds,
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
    and returns.idx = paired.return_idx;

CREATE TABLE int_letta__run_turns AS
-- A run belongs to the turn of its first message.
with messages as (
    select
        agent_id,
        run_id,
        turn_id,
        row_number() over (
            partition by agent_id, run_id order by turn_index, message_index
        ) as row_index
    from int_letta__messages
    where run_id is not null and turn_id is not null
)
select
    md5(cast(coalesce(cast(agent_id as TEXT), '') || '|' || coalesce(cast(run_id as TEXT), '') as TEXT)) as run_turn_key,
    agent_id,
    run_id,
    turn_id
from messages
where row_index = 1;

CREATE TABLE int_letta__model_prices AS
select
    model,
    cast(input_price as double) as input_price,
    cast(coalesce(cached_input_price, input_price) as double) as cached_input_price,
    cast(coalesce(cache_write_price, input_price) as double) as cache_write_price,
    cast(output_price as double) as output_price
from letta_model_prices;

CREATE TABLE letta__step_costs AS
with steps as (
    select * from stg_letta__steps
),
runs as (
    select * from stg_letta__runs
),
prices as (
    select * from int_letta__model_prices
),
said as (
    select
        agent_id,
        step_id,
        conversation_key,
        turn_id,
        created_at,
        row_number() over (partition by step_id order by turn_index, message_index) as row_index
    from int_letta__messages
    where step_id is not null
),
priced as (
    select
        steps.*,
        coalesce(by_handle.input_price, by_model.input_price) as input_price,
        coalesce(by_handle.cached_input_price, by_model.cached_input_price) as cached_input_price,
        coalesce(by_handle.cache_write_price, by_model.cache_write_price) as cache_write_price,
        coalesce(by_handle.output_price, by_model.output_price) as output_price,
        coalesce(steps.cached_input_tokens, 0) as cached,
        coalesce(steps.cache_write_tokens, 0) as written,
        -- Providers count cached tokens as part of the prompt; otherwise this would be negative.
        case
            when coalesce(steps.prompt_tokens, 0)
                < coalesce(steps.cached_input_tokens, 0) + coalesce(steps.cache_write_tokens, 0) then 0
            else coalesce(steps.prompt_tokens, 0)
                - coalesce(steps.cached_input_tokens, 0) - coalesce(steps.cache_write_tokens, 0)
        end as uncached
    from steps
    left join prices as by_handle
        on by_handle.model = steps.model_handle
    left join prices as by_model
        on by_model.model = steps.model
)
select
    priced.id as step_id,
    priced.run_id,
    coalesce(priced.agent_id, runs.agent_id, said.agent_id) as agent_id,
    said.conversation_key,
    coalesce(said.turn_id, run_turns.turn_id) as turn_id,
    -- Steps have no date in the API.
    coalesce(said.created_at, runs.created_at) as created_at,
    priced.status,
    priced.stop_reason,
    priced.feedback,
    priced.provider_name,
    priced.model,
    priced.model_handle,
    priced.prompt_tokens,
    priced.cached_input_tokens,
    priced.cache_write_tokens,
    priced.completion_tokens,
    priced.reasoning_tokens,
    priced.total_tokens,
    priced.input_price,
    priced.cached_input_price,
    priced.cache_write_price,
    priced.output_price,
    priced.input_price is not null as is_priced,
    priced.uncached * priced.input_price / 1000000.0 as input_cost,
    priced.cached * priced.cached_input_price / 1000000.0 as cached_input_cost,
    priced.written * priced.cache_write_price / 1000000.0 as cache_write_cost,
    coalesce(priced.completion_tokens, 0) * priced.output_price / 1000000.0 as output_cost,
    (
        priced.uncached * priced.input_price
        + priced.cached * priced.cached_input_price
        + priced.written * priced.cache_write_price
        + coalesce(priced.completion_tokens, 0) * priced.output_price
    ) / 1000000.0 as cost
from priced
left join said
    on said.step_id = priced.id
    and said.row_index = 1
left join runs
    on runs.id = priced.run_id
left join int_letta__run_turns as run_turns
    on run_turns.run_id = priced.run_id
    and run_turns.agent_id = coalesce(priced.agent_id, runs.agent_id);

CREATE TABLE letta__turns AS
with messages as (
    select * from int_letta__messages
    where turn_id is not null and 1 = 1
),
turns as (
    select
        turn_id,
        min(agent_id) as agent_id,
        min(conversation_key) as conversation_key,
        min(conversation_id) as conversation_id,
        min(turn_index) as turn_index,
        min(agent_version) as agent_version,
        min(case when author = 'user' then created_at end) as started_at,
        max(case when author in ('agent', 'tool') then created_at end) as ended_at,
        count(*) as messages,
        cast(sum(case when message_type = 'user_message' and author = 'user' then 1 else 0 end) as bigint) as user_messages,
        cast(sum(case when message_type = 'assistant_message' then 1 else 0 end) as bigint) as assistant_messages,
        cast(sum(case when message_type = 'reasoning_message' then 1 else 0 end) as bigint) as reasoning_messages
    from messages
    group by turn_id
),
opening as (
    select
        turn_id,
        text as user_text,
        -- Agents write to agents, too: their ids are not users.
        case when sender_id like 'agent-%' then null else sender_id end as sender_id,
        row_number() over (partition by turn_id order by message_index) as row_index
    from messages
    where message_type = 'user_message' and author = 'user'
),
timed as (
    select
        run_turns.turn_id,
        runs.status,
        runs.stop_reason,
        runs.ttft_ns,
        coalesce(
            runs.total_duration_ns / 1000000000.0,
cast(date_diff('microsecond', runs.created_at, runs.completed_at) / 1000000.0 as double)
        ) as seconds,
        row_number() over (partition by run_turns.turn_id order by runs.created_at, run_turns.run_id) as run_index,
        row_number() over (
            partition by run_turns.turn_id order by runs.created_at desc, run_turns.run_id desc
        ) as run_index_from_last
    from int_letta__run_turns as run_turns
    left join stg_letta__runs as runs
        on runs.id = run_turns.run_id
),
runs as (
    select
        turn_id,
        count(*) as runs,
        -- If the duration of one run is unknown, so is that of the turn.
        case when count(*) = count(seconds) then sum(seconds) end as seconds,
        cast(max(case when run_index = 1 then ttft_ns end) / 1000000000.0 as double)
            as seconds_to_first_token,
        max(case when run_index_from_last = 1 then status end) as status,
        max(case when run_index_from_last = 1 then stop_reason end) as stop_reason
    from timed
    group by turn_id
),
steps as (
    select
        turn_id,
        count(*) as steps,
        cast(sum(prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
        cast(sum(completion_tokens) as bigint) as completion_tokens,
        cast(sum(reasoning_tokens) as bigint) as reasoning_tokens,
        cast(sum(total_tokens) as bigint) as total_tokens,
        sum(cost) as cost,
        cast(sum(case when is_priced then 0 else 1 end) as bigint) as steps_without_price
    from letta__step_costs
    where turn_id is not null
    group by turn_id
),
tools as (
    select
        turn_id,
        count(*) as tool_calls,
        cast(sum(case when return_status = 'error' then 1 else 0 end) as bigint) as tool_errors,
        cast(sum(case when is_returned then 0 else 1 end) as bigint) as tool_calls_never_returned
    from int_letta__tool_calls
    where turn_id is not null
    group by turn_id
)
select
    turns.turn_id,
    turns.agent_id,
    agents.name as agent_name,
    turns.conversation_key,
    turns.conversation_id,
    turns.turn_index,
    -- Only some hosts name the identity that sent a message; an agent with a single identity belongs to it.
    coalesce(opening.sender_id, case
        when cast(agents.identity_ids as TEXT) like '["%"]' and cast(agents.identity_ids as TEXT) not like '%,%'
            then replace(replace(cast(agents.identity_ids as TEXT), '["', ''), '"]', '')
    end) as user_id,
    turns.started_at,
    turns.ended_at,
    coalesce(runs.seconds,
cast(date_diff('microsecond', turns.started_at, turns.ended_at) / 1000000.0 as double)) as latency_seconds,
    case
        when runs.seconds is not null then 'runs'
        when turns.ended_at is not null then 'messages'
    end as latency_source,
    runs.seconds_to_first_token,
    runs.status as run_status,
    runs.stop_reason,
    opening.user_text,
    turns.messages,
    turns.user_messages,
    turns.assistant_messages,
    turns.reasoning_messages,
    coalesce(runs.runs, 0) as runs,
    coalesce(steps.steps, 0) as steps,
    coalesce(tools.tool_calls, 0) as tool_calls,
    coalesce(tools.tool_errors, 0) as tool_errors,
    coalesce(tools.tool_calls_never_returned, 0) as tool_calls_never_returned,
    steps.prompt_tokens,
    steps.cached_input_tokens,
    steps.cache_write_tokens,
    steps.completion_tokens,
    steps.reasoning_tokens,
    steps.total_tokens,
    steps.cost,
    coalesce(steps.steps_without_price, 0) as steps_without_price,
    turns.agent_version
from turns
left join opening
    on opening.turn_id = turns.turn_id
    and opening.row_index = 1
left join stg_letta__agents as agents
    on agents.id = turns.agent_id
left join runs
    on runs.turn_id = turns.turn_id
left join steps
    on steps.turn_id = turns.turn_id
left join tools
    on tools.turn_id = turns.turn_id;

CREATE TABLE letta__errors AS
with runs as (
    select * from stg_letta__runs
),
errors as (
    select
        'run' as error_source,
        id as error_source_id,
        agent_id,
        conversation_id,
        id as run_id,
        cast(null as TEXT) as step_id,
        coalesce(completed_at, created_at) as occurred_at,
        coalesce(stop_reason, status) as error_type,
        cast(null as TEXT) as name,
        cast(metadata as TEXT) as detail
    from runs
    where status = 'failed' or stop_reason = 'error'
    union all
    select
        'step',
        steps.id,
        coalesce(steps.agent_id, runs.agent_id),
        runs.conversation_id,
        steps.run_id,
        steps.id,
        coalesce(costs.created_at, runs.created_at),
        coalesce(steps.error_type, steps.stop_reason, steps.status),
        steps.model,
        cast(steps.error_data as TEXT)
    from stg_letta__steps as steps
    left join runs
        on runs.id = steps.run_id
    left join letta__step_costs as costs
        on costs.step_id = steps.id
    where steps.status = 'failed' or steps.error_type is not null
    union all
    select
        'tool_call',
        tool_call_key,
        agent_id,
        conversation_id,
        run_id,
        step_id,
        returned_at,
        'tool_error',
        tool_name,
        tool_return
    from int_letta__tool_calls
    where return_status = 'error' and outcome <> 'denied'
    union all
    select
        'load',
        md5(cast(coalesce(cast(load_started_at as TEXT), '') || '|' || coalesce(cast(resource as TEXT), '') || '|' || coalesce(cast(parent_id as TEXT), '') || '|' || coalesce(cast(kind as TEXT), '') || '|' || coalesce(cast(after_id as TEXT), '') || '|' || coalesce(cast(before_id as TEXT), '') as TEXT)),
        cast(null as TEXT),
        cast(null as TEXT),
        cast(null as TEXT),
        cast(null as TEXT),
        load_started_at,
        kind,
        resource,
        detail
    from stg_letta__load_issues
)
select
    md5(cast(coalesce(cast(errors.error_source as TEXT), '') || '|' || coalesce(cast(errors.error_source_id as TEXT), '') as TEXT)) as error_key,
    errors.error_source,
    errors.error_source_id,
    errors.agent_id,
    agents.name as agent_name,
    errors.conversation_id,
    errors.run_id,
    errors.step_id,
    errors.occurred_at,
    errors.error_type,
    errors.name,
    errors.detail
from errors
left join stg_letta__agents as agents
    on agents.id = errors.agent_id;
