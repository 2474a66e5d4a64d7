{#- Return the warehouse's name for a type of letta_source. -#}
{% macro letta_type(kind) %}
{%- if kind == 'text' -%}{{ dbt.type_string() }}
{%- elif kind == 'bigint' -%}{{ dbt.type_bigint() }}
{%- elif kind == 'double' -%}{{ adapter.dispatch('letta_type_double', 'letta')() }}
{%- elif kind == 'bool' -%}{{ dbt.type_boolean() }}
{%- elif kind == 'timestamp' -%}{{ adapter.dispatch('letta_type_timestamp', 'letta')() }}
{%- elif kind == 'json' -%}{{ adapter.dispatch('letta_type_json', 'letta')() }}
{%- else -%}{{ exceptions.raise_compiler_error("no type " ~ kind) }}
{%- endif -%}
{% endmacro %}

{% macro default__letta_type_double() %}{{ dbt.type_float() }}{% endmacro %}

{#- Databases whose FLOAT has four bytes. -#}
{% macro duckdb__letta_type_double() %}double{% endmacro %}

{% macro default__letta_type_timestamp() %}{{ dbt.type_timestamp() }}{% endmacro %}

{% macro duckdb__letta_type_timestamp() %}timestamp with time zone{% endmacro %}

{% macro postgres__letta_type_timestamp() %}timestamp with time zone{% endmacro %}

{#- Databases whose TIMESTAMP has no time zone. -#}
{% macro snowflake__letta_type_timestamp() %}timestamp_tz{% endmacro %}

{#- In all warehouses but these, letta_source writes json as text. -#}
{% macro default__letta_type_json() %}{{ dbt.type_string() }}{% endmacro %}

{% macro duckdb__letta_type_json() %}json{% endmacro %}

{% macro postgres__letta_type_json() %}json{% endmacro %}
