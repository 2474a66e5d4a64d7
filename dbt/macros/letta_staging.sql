{#- Select a source table's rows of completed loads, the newest row of each key.

A missing table counts as empty; a column that it lacks is null.

Args:
    name: The table's name in `letta_schema`.
    always: True to build the model, without rows, even if its family is switched off.
-#}
{% macro letta_staging(name, always=false) %}
{%- set schema, parts = letta_schema(), name.split('__') -%}
{%- set family = schema['families'][parts[0]] -%}
{%- set own = schema['children'][parts[1]] if parts[1:] else family -%}
{%- set using = letta_using(parts[0]) -%}
{%- set table, loads = source('letta', name), source('letta', '_dlt_loads') -%}
{%- set key = ([family['parent']] if family['parent'] else []) + own['key'] -%}
{%- set columns = [(family['parent'], 'text')] if family['parent'] else [] -%}
{%- for column in own['columns'].split(',') -%}
    {%- do columns.append(column.split()) -%}
{%- endfor -%}
{{- config(enabled=using or using is none or always) -}}
{%- if execute and not letta_loaded(name) -%}
select
    {%- for name, kind in columns %}
    cast(null as {{ letta_type(kind) }}) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from (select 1 as one) as nothing
where 1 = 0
{%- elif execute -%}
{%- set found = {} -%}
{%- for column in adapter.get_columns_in_relation(table) -%}
    {%- do found.update({column.name | lower: adapter.quote(column.name)}) -%}
{%- endfor -%}
with kept as (

    select
        {%- for name, kind in columns %}
        {{ found.get(name) or "cast(null as " ~ letta_type(kind) ~ ")" }} as {{ name }},
        {%- endfor %}
        {%- if var('letta_deduplicate', true) %}
        row_number() over (
            partition by {{ key | join(', ') }} order by _dlt_load_id desc
        ) as version_number
        {%- else %}
        1 as version_number
        {%- endif %}
    from {{ table }}
    -- The next run brings the rows of an interrupted load again.
    where _dlt_load_id in (select load_id from {{ loads }} where status = 0)

)

select
    {%- for name, kind in columns %}
    {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from kept
where version_number = 1
{%- endif -%}
{% endmacro %}
