{% snapshot letta__agents_snapshot %}
{{ letta_snapshot(
    'agent_id', ['agent_name', 'agent_type', 'description', 'model', 'system', 'llm_config', 'tool_rules'], ['agent_id']
) }}
select
    agents.id as agent_id,
    agents.name as agent_name,
    agents.agent_type,
    agents.description,
    agents.model,
    agents.system,
    cast(agents.llm_config as {{ dbt.type_string() }}) as llm_config,
    cast(agents.tool_rules as {{ dbt.type_string() }}) as tool_rules,
    agents._letta_deleted_at,
    loads.loaded_at
from {{ ref('stg_letta__agents') }} as agents
inner join ({{ letta_load_times() }}) as loads
    on loads.load_id = agents._dlt_load_id
{% endsnapshot %}
