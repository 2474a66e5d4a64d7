with runs as (

    select * from {{ ref('stg_letta__runs') }}

),

errors as (

    select
        'run' as error_source,
        id as error_source_id,
        agent_id,
        conversation_id,
        id as run_id,
        cast(null as {{ dbt.type_string() }}) as step_id,
        coalesce(completed_at, created_at) as occurred_at,
        coalesce(stop_reason, status) as error_type,
        cast(null as {{ dbt.type_string() }}) as name,
        cast(metadata as {{ dbt.type_string() }}) as detail
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
        cast(steps.error_data as {{ dbt.type_string() }})
    from {{ ref('stg_letta__steps') }} as steps
    left join runs
        on runs.id = steps.run_id
    left join {{ ref('letta__step_costs') }} as costs
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
    from {{ ref('int_letta__tool_calls') }}
    where return_status = 'error' and outcome <> 'denied'

    union all

    select
        'load',
        {{ letta_key(['load_started_at', 'resource', 'parent_id', 'kind', 'after_id', 'before_id']) }},
        cast(null as {{ dbt.type_string() }}),
        cast(null as {{ dbt.type_string() }}),
        cast(null as {{ dbt.type_string() }}),
        cast(null as {{ dbt.type_string() }}),
        load_started_at,
        kind,
        resource,
        detail
    from {{ ref('stg_letta__load_issues') }}

)

select
    {{ letta_key(['errors.error_source', 'errors.error_source_id']) }} as error_key,
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
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = errors.agent_id
