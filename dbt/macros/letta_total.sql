{#- Sum integers as an integer: DuckDB would return a HUGEINT, PostgreSQL a numeric. -#}
{% macro letta_total(expression) -%}
cast(sum({{ expression }}) as {{ dbt.type_bigint() }})
{%- endmacro %}
