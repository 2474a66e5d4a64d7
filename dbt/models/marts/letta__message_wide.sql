{{ letta_incremental() }}
with calls as (

    select
        agent_id,
        message_id,
        position,
        count(*) as tool_calls,
        {{ dbt.listagg('name', "', '", 'order by idx') }} as tool_names,
        {{ dbt.listagg("coalesce(name, '') || '(' || coalesce(arguments, '') || ')'", 'chr(10)', 'order by idx') }}
            as tool_call_text
    from {{ ref('stg_letta__agent_messages__tool_calls') }}
    where {{ letta_is_changed() }}
    group by agent_id, message_id, position

),

returns as (

    select
        agent_id,
        message_id,
        position,
        count(*) as tool_returns,
        {{ letta_total("case when status = 'error' then 1 else 0 end") }} as tool_errors,
        {{ dbt.listagg('tool_return', 'chr(10)', 'order by idx') }} as tool_return_text
    from {{ ref('stg_letta__agent_messages__tool_returns') }}
    where {{ letta_is_changed() }}
    group by agent_id, message_id, position

),

approvals as (

    select
        agent_id,
        message_id,
        position,
        {{ letta_total('case when approve then 1 else 0 end') }} as approved,
        {{ letta_total('case when not approve then 1 else 0 end') }} as denied
    from {{ ref('stg_letta__agent_messages__approvals') }}
    where {{ letta_is_changed() }}
    group by agent_id, message_id, position

),

content as (

    select
        agent_id,
        message_id,
        position,
        count(*) as content_parts,
        {{ letta_total("case when type = 'text' then 1 else 0 end") }} as text_parts,
        {{ letta_total("case when type = 'image' then 1 else 0 end") }} as image_parts
    from {{ ref('stg_letta__agent_messages__content') }}
    where {{ letta_is_changed() }}
    group by agent_id, message_id, position

)

select
    messages.message_key,
    messages.agent_id,
    messages.message_id,
    messages.position,
    agents.name as agent_name,
    agents.agent_type,
    messages.conversation_key,
    messages.conversation_id,
    conversations.summary as conversation_title,
    messages.message_index,
    messages.turn_index,
    messages.turn_id,
    messages.created_at,
    messages.message_type,
    messages.author,
    messages.name,
    messages.sender_id,
    messages.text,
    messages.reasoning,
    messages.summary,
    messages.is_err,
    coalesce(content.content_parts, 0) as content_parts,
    coalesce(content.text_parts, 0) as text_parts,
    coalesce(content.image_parts, 0) as image_parts,
    coalesce(calls.tool_calls, 0) as tool_calls,
    calls.tool_names,
    calls.tool_call_text,
    coalesce(returns.tool_returns, 0) as tool_returns,
    coalesce(returns.tool_errors, 0) as tool_errors,
    returns.tool_return_text,
    coalesce(approvals.approved, 0) as approved,
    coalesce(approvals.denied, 0) as denied,
    messages.run_id,
    runs.status as run_status,
    runs.stop_reason as run_stop_reason,
    messages.step_id,
    steps.status as step_status,
    steps.model as step_model,
    steps.prompt_tokens as step_prompt_tokens,
    steps.completion_tokens as step_completion_tokens,
    steps.total_tokens as step_total_tokens,
    steps.cost as step_cost,
    messages.agent_version
from {{ ref('int_letta__messages') }} as messages
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = messages.agent_id
left join {{ ref('stg_letta__conversations') }} as conversations
    on conversations.id = messages.conversation_id
left join {{ ref('stg_letta__runs') }} as runs
    on runs.id = messages.run_id
left join {{ ref('letta__step_costs') }} as steps
    on steps.step_id = messages.step_id
left join calls
    on calls.agent_id = messages.agent_id
    and calls.message_id = messages.message_id
    and calls.position = messages.position
left join returns
    on returns.agent_id = messages.agent_id
    and returns.message_id = messages.message_id
    and returns.position = messages.position
left join approvals
    on approvals.agent_id = messages.agent_id
    and approvals.message_id = messages.message_id
    and approvals.position = messages.position
left join content
    on content.agent_id = messages.agent_id
    and content.message_id = messages.message_id
    and content.position = messages.position
where {{ letta_is_changed('messages.agent_id') }}
