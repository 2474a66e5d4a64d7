{{ letta_incremental() }}
-- What happened to tool calls, in order: seen (a call), decided (an answer to a request for approval), returned.
with messages as (

    select * from {{ ref('int_letta__messages') }}
    where {{ letta_is_changed() }}

),

calls as (

    select * from {{ ref('stg_letta__agent_messages__tool_calls') }}
    where {{ letta_is_changed() }}

),

requested as (

    select
        agent_id,
        message_id,
        tool_call_id,
        row_number() over (partition by agent_id, message_id order by position, idx) as call_index
    from calls

),

events as (

    select
        agent_id,
        message_id,
        position,
        idx,
        tool_call_id,
        'seen' as event,
        false as is_answer,
        name,
        arguments,
        cast(null as {{ dbt.type_boolean() }}) as approve,
        cast(null as {{ dbt.type_string() }}) as status,
        cast(null as {{ dbt.type_string() }}) as tool_return,
        cast(null as {{ dbt.type_string() }}) as reason
    from calls

    union all

    select
        approvals.agent_id,
        approvals.message_id,
        approvals.position,
        approvals.idx,
        coalesce(requested.tool_call_id, approvals.tool_call_id) as tool_call_id,
        -- Where the caller ran the tool its answer is the return.
        case when approvals.type = 'tool' then 'returned' else 'decided' end as event,
        true as is_answer,
        null as name,
        null as arguments,
        approvals.approve,
        case when approvals.type = 'tool' then approvals.status end as status,
        case when approvals.type = 'tool' then approvals.tool_return end as tool_return,
        approvals.reason
    from {{ ref('stg_letta__agent_messages__approvals') }} as approvals
    -- Older clients answer with the id of the message that asked, and mean its first call.
    left join requested
        on requested.agent_id = approvals.agent_id
        and requested.message_id = approvals.tool_call_id
        and requested.call_index = 1
    where {{ letta_is_changed('approvals.agent_id') }}

    union all

    select
        agent_id,
        message_id,
        position,
        idx,
        tool_call_id,
        'returned' as event,
        false as is_answer,
        null as name,
        null as arguments,
        null as approve,
        status,
        tool_return,
        null as reason
    from {{ ref('stg_letta__agent_messages__tool_returns') }}
    where {{ letta_is_changed() }}

)

select
    {{ letta_key(['events.event', 'events.agent_id', 'events.message_id', 'events.position', 'events.idx']) }}
        as tool_event_key,
    {{ letta_key(['events.agent_id', 'events.message_id', 'events.position', 'events.idx']) }} as item_key,
    events.agent_id,
    events.message_id,
    events.position,
    events.idx,
    events.tool_call_id,
    -- A call without an id is one of its own.
    coalesce(
        events.tool_call_id,
        {{ letta_key(['events.agent_id', 'events.message_id', 'events.position', 'events.idx']) }}
    ) as pair_id,
    events.event,
    events.is_answer,
    -- Within a second, and where the server's order is not known.
    case events.event when 'seen' then 0 when 'decided' then 1 else 2 end as event_rank,
    messages.created_at,
    messages.sequence,
    messages.message_type,
    messages.conversation_key,
    messages.conversation_id,
    messages.turn_id,
    messages.run_id,
    messages.step_id,
    events.name,
    events.arguments,
    events.approve,
    events.status,
    events.tool_return,
    events.reason,
    messages.agent_version
from events
inner join messages
    on messages.agent_id = events.agent_id
    and messages.message_id = events.message_id
    and messages.position = events.position
