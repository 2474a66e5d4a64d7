-- One row per agent, with a hash that changes whenever its messages, turns or calls may change. Tables count by
-- their number of rows and their newest load; agents and conversations, which each load writes, by content.
{%- set counted = {
    'messages': 'agent_messages',
    'content': 'agent_messages__content',
    'tool_calls': 'agent_messages__tool_calls',
    'tool_returns': 'agent_messages__tool_returns',
    'approvals': 'agent_messages__approvals',
} %}
{#- The package's version of the models: another number rebuilds every row. -#}
{%- set made_by = ['2'] %}
{%- for name in [
    'letta_document_chunk_size', 'letta_document_message_types', 'letta_document_longest_message', 'letta_deduplicate',
] %}
{%- do made_by.append(var(name, '') | string) %}
{%- endfor %}

with parts as (
{% for part, table in counted.items() %}
    select
        agent_id,
        '{{ part }}' as part,
        count(*) as part_rows,
        max(_dlt_load_id) as part_load_id
    from {{ ref('stg_letta__' ~ table) }}
    group by agent_id

    union all
{% endfor %}
    -- Including runs of other agents that messages name.
    select
        messages.agent_id,
        'runs',
        count(distinct runs.id),
        max(runs._dlt_load_id)
    from {{ ref('stg_letta__agent_messages') }} as messages
    inner join {{ ref('stg_letta__runs') }} as runs
        on runs.id = messages.run_id
    group by messages.agent_id

    union all

    select
        steps.agent_id,
        'steps',
        count(*),
        max(steps._dlt_load_id)
    from {{ ref('stg_letta__steps') }} as steps
    group by steps.agent_id

    union all

    select
        messages.agent_id,
        'steps of messages',
        count(distinct steps.id),
        max(steps._dlt_load_id)
    from {{ ref('stg_letta__agent_messages') }} as messages
    inner join {{ ref('stg_letta__steps') }} as steps
        on steps.id = messages.step_id
    group by messages.agent_id

    union all

    select
        runs.agent_id,
        'steps of runs',
        count(distinct steps.id),
        max(steps._dlt_load_id)
    from {{ ref('stg_letta__runs') }} as runs
    inner join {{ ref('stg_letta__steps') }} as steps
        on steps.run_id = runs.id
    group by runs.agent_id

),

loaded as (

    select
        agent_id,
        {{ dbt.listagg(
            dbt.concat(["part", "' '", "cast(part_rows as " ~ dbt.type_string() ~ ")", "' '", "part_load_id"]),
            "', '", "order by part"
        ) }} as parts
    from parts
    group by agent_id

),

titles as (

    select
        agent_id,
        {{ dbt.listagg(dbt.concat(["id", "' '", "coalesce(summary, '')"]), "', '", "order by id") }} as titles
    from {{ ref('stg_letta__conversations') }}
    group by agent_id

),

prices as (

    select
        {{ dbt.listagg(
            letta_key(['model', 'input_price', 'cached_input_price', 'cache_write_price', 'output_price']),
            "', '", "order by model"
        ) }} as prices
    from {{ ref('int_letta__model_prices') }}

)

select
    loaded.agent_id,
    {{ letta_key([
        'loaded.agent_id', 'loaded.parts', 'agents.name', 'agents.agent_type', 'agents.identity_ids',
        'titles.titles', 'prices.prices', "'" ~ (made_by | join(' ') | replace("'", "''")) ~ "'",
    ]) }} as agent_version
from loaded
cross join prices
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = loaded.agent_id
left join titles
    on titles.agent_id = loaded.agent_id
where loaded.agent_id is not null
