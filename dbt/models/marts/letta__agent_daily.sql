-- One row per agent and day with activity.
{%- set counted = [
    'messages', 'user_messages', 'turns', 'answered_turns', 'latency_seconds', 'runs', 'failed_runs', 'steps',
    'failed_steps', 'prompt_tokens', 'cached_input_tokens', 'completion_tokens', 'reasoning_tokens',
    'total_tokens', 'cost', 'steps_without_price', 'tool_calls', 'tool_errors',
] %}
{%- set of_kind = {
    'messages': {
        'messages': '1',
        'user_messages': "case when message_type = 'user_message' and author = 'user' then 1 else 0 end",
    },
    'turns': {
        'turns': '1',
        'answered_turns': 'case when latency_seconds is null then 0 else 1 end',
        'latency_seconds': 'latency_seconds',
    },
    'runs': {
        'runs': '1',
        'failed_runs': "case when status = 'failed' then 1 else 0 end",
    },
    'steps': {
        'steps': '1',
        'failed_steps': "case when status = 'failed' then 1 else 0 end",
        'prompt_tokens': 'prompt_tokens',
        'cached_input_tokens': 'cached_input_tokens',
        'completion_tokens': 'completion_tokens',
        'reasoning_tokens': 'reasoning_tokens',
        'total_tokens': 'total_tokens',
        'cost': 'cost',
        'steps_without_price': 'case when is_priced then 0 else 1 end',
    },
    'tools': {
        'tool_calls': '1',
        'tool_errors': "case when return_status = 'error' then 1 else 0 end",
    },
} %}
{%- set from_kind = {
    'messages': (ref('int_letta__messages'), 'created_at'),
    'turns': (ref('letta__turns'), 'started_at'),
    'runs': (ref('stg_letta__runs'), 'created_at'),
    'steps': (ref('letta__step_costs'), 'created_at'),
    'tools': (ref('int_letta__tool_calls'), 'called_at'),
} %}

with happened as (
{% for kind, expressions in of_kind.items() %}
    select
        agent_id,
        {{ letta_day(from_kind[kind][1]) }} as date_day,
        {%- for name in counted %}
        {%- set type = letta_type('double') if name in ['cost', 'latency_seconds'] else dbt.type_bigint() %}
        cast({{ expressions.get(name, 'null') }} as {{ type }}) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ from_kind[kind][0] }}
    where agent_id is not null and {{ from_kind[kind][1] }} is not null
{% if not loop.last %}
    union all
{% endif %}
{%- endfor %}
),

days as (

    select
        agent_id,
        date_day,
        {%- for name in counted %}
        {{ "sum(" ~ name ~ ")" if name in ['cost', 'latency_seconds'] else letta_total(name) }} as {{ name }}
        {{- "," if not loop.last }}
        {%- endfor %}
    from happened
    group by agent_id, date_day

)

select
    {{ letta_key(['days.agent_id', 'days.date_day']) }} as agent_day_key,
    days.agent_id,
    agents.name as agent_name,
    days.date_day,
    {%- for name in counted if name not in ['answered_turns', 'latency_seconds'] %}
    {%- if name in ['cost'] or name.endswith('_tokens') %}
    days.{{ name }},
    {%- else %}
    coalesce(days.{{ name }}, 0) as {{ name }},
    {%- endif %}
    {%- endfor %}
    days.latency_seconds / nullif(days.answered_turns, 0) as average_latency_seconds
from days
left join {{ ref('stg_letta__agents') }} as agents
    on agents.id = days.agent_id
