{#- One source table, as every model may rely on it.

Args:
    using: Whether the table is loaded; where it is not, the model has its columns and no rows.
    table, loads: The source table, and dlt's `_dlt_loads`.
    key: The columns that are a row's key.
    columns: (name, type) of each; one that the table does not have is null.
-#}
{% macro letta_staging(using, table, loads, key, columns) %}
{%- if not using -%}
select
    {%- for name, kind in columns %}
    cast(null as {{ letta_type(kind) }}) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from (select 1 as one) as nothing
where 1 = 0
{%- elif execute -%}
{%- set found = {} -%}
{%- if not load_relation(table) -%}
    {{ exceptions.raise_compiler_error(
        table ~ " is not there. Is it loaded, and is letta_schema right? The README of this package names the"
        ~ " variable that switches its family off."
    ) }}
{%- endif -%}
{%- for column in adapter.get_columns_in_relation(table) -%}
    {%- do found.update({column.name | lower: adapter.quote(column.name)}) -%}
{%- endfor -%}
with kept as (

    select
        {%- for name, kind in columns %}
        {{ found.get(name) or "cast(null as " ~ letta_type(kind) ~ ")" }} as {{ name }},
        {%- endfor %}
        {%- if var('letta_deduplicate', true) %}
        row_number() over (partition by {{ key | join(', ') }} order by _dlt_load_id desc) as version_number
        {%- else %}
        1 as version_number
        {%- endif %}
    from {{ table }}
    -- Rows of a load that was cut off are of no finished one: its next run brings them again.
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
