{{ letta_incremental() }}
with messages as (

    select * from {{ ref('int_letta__messages') }}
    where turn_id is not null and {{ letta_is_changed() }}

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
        {{ letta_total("case when message_type = 'user_message' and author = 'user' then 1 else 0 end") }} as user_messages,
        {{ letta_total("case when message_type = 'assistant_message' then 1 else 0 end") }} as assistant_messages,
        {{ letta_total("case when message_type = 'reasoning_message' then 1 else 0 end") }} as reasoning_messages
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
            {{ letta_seconds('runs.created_at', 'runs.completed_at') }}
        ) as seconds,
        row_number() over (partition by run_turns.turn_id order by runs.created_at, run_turns.run_id) as run_index,
        row_number() over (
            partition by run_turns.turn_id order by runs.created_at desc, run_turns.run_id desc
        ) as run_index_from_last
    from {{ ref('int_letta__run_turns') }} as run_turns
    left join {{ ref('stg_letta__runs') }} as runs
        on runs.id = run_turns.run_id

),

runs as (

    select
        turn_id,
        count(*) as runs,
        -- If the duration of one run is unknown, so is that of the turn.
        case when count(*) = count(seconds) then sum(seconds) end as seconds,
        cast(max(case when run_index = 1 then ttft_ns end) / 1000000000.0 as {{ letta_type('double') }})
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
        {{ letta_total('prompt_tokens') }} as prompt_tokens,
        {{ letta_total('cached_input_tokens') }} as cached_input_tokens,
        {{ letta_total('cache_write_tokens') }} as cache_write_tokens,
        {{ letta_total('completion_tokens') }} as completion_tokens,
        {{ letta_total('reasoning_tokens') }} as reasoning_tokens,
        {{ letta_total('total_tokens') }} as total_tokens,
        sum(cost) as cost,
        {{ letta_total('case when is_priced then 0 else 1 end') }} as steps_without_price
    from {{ ref('letta__step_costs') }}
    where turn_id is not null
    group by turn_id

),

tools as (

    select
        turn_id,
        count(*) as tool_calls,
        {{ letta_total("case when return_status = 'error' then 1 else 0 end") }} as tool_errors,
        {{ letta_total('case when is_returned then 0 else 1 end') }} as tool_calls_never_returned
    from {{ ref('int_letta__tool_calls') }}
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
    coalesce(opening.sender_id, {{ letta_only_identity('agents.identity_ids') }}) as user_id,
    turns.started_at,
    turns.ended_at,
    coalesce(runs.seconds, {{ letta_seconds('turns.started_at', 'turns.ended_at') }}) as latency_seconds,
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
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = turns.agent_id
left join runs
    on runs.turn_id = turns.turn_id
left join steps
    on steps.turn_id = turns.turn_id
left join tools
    on tools.turn_id = turns.turn_id
