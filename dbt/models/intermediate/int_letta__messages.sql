{{ letta_incremental() }}
with messages as (

    select * from {{ ref('stg_letta__agent_messages') }}
    where {{ letta_is_changed() }}

),

runs as (

    select * from {{ ref('stg_letta__runs') }}

),

placed as (

    select
        messages.*,
        runs.conversation_id,
        case
            -- The server writes logins, heartbeats and summaries in the user's name, as JSON with a type.
            when messages.message_type = 'user_message' and {{ letta_is_event('messages.text') }} then 'system'
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
            partition by agent_id, conversation_id order by {{ letta_order() }}
        ) as last_type,
        lag(run_id) over (
            partition by agent_id, conversation_id order by {{ letta_order() }}
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
            partition by agent_id, conversation_id order by {{ letta_order() }}
        ) as message_index,
        sum(opens_turn) over (
            partition by agent_id, conversation_id order by {{ letta_order() }}
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
    {{ letta_key(['named.agent_id', 'id', 'position']) }} as message_key,
    named.agent_id,
    id as message_id,
    position,
    {{ letta_key(['named.agent_id', 'conversation_id']) }} as conversation_key,
    conversation_id,
    cast(message_index as {{ dbt.type_bigint() }}) as message_index,
    cast(turn_index as {{ dbt.type_bigint() }}) as turn_index,
    case when turn_index > 0 then {{ letta_key(['named.agent_id', 'turn_message_id']) }} end as turn_id,
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
left join {{ ref('int_letta__agent_versions') }} as versions
    on versions.agent_id = named.agent_id
