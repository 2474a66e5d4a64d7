{#- A sum of integers as an integer: DuckDB makes a HUGEINT of it, PostgreSQL a numeric. -#}
{% macro letta_total(expression) -%}
cast(sum({{ expression }}) as {{ dbt.type_bigint() }})
{%- endmacro %}
