with calls as (

    select * from {{ ref('int_letta__tool_calls') }}

)

select
    {{ letta_key(['calls.agent_id', 'calls.tool_name']) }} as tool_usage_key,
    calls.agent_id,
    agents.name as agent_name,
    calls.tool_name,
    count(*) as calls,
    {{ letta_total('case when calls.is_returned then 1 else 0 end') }} as returned,
    {{ letta_total("case when calls.return_status = 'error' then 1 else 0 end") }} as errors,
    {{ letta_total('case when calls.is_returned then 0 else 1 end') }} as never_returned,
    {{ letta_total('case when calls.is_approval_requested then 1 else 0 end') }} as approvals_requested,
    {{ letta_total("case when calls.outcome = 'denied' then 1 else 0 end") }} as denied,
    cast(sum(case when calls.return_status = 'error' then 1 else 0 end) as {{ letta_type('double') }})
        / nullif(sum(case when calls.is_returned then 1 else 0 end), 0) as error_rate,
    sum(calls.tool_seconds) as total_seconds,
    avg(calls.tool_seconds) as average_seconds,
    max(calls.tool_seconds) as longest_seconds,
    min(calls.called_at) as first_called_at,
    max(calls.called_at) as last_called_at
from calls
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = calls.agent_id
group by calls.agent_id, agents.name, calls.tool_name
