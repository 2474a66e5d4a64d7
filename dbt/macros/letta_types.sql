{#- The warehouse's name of a type of letta_source. -#}
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

{#- There a float has four bytes. -#}
{% macro duckdb__letta_type_double() %}double{% endmacro %}

{% macro default__letta_type_timestamp() %}{{ dbt.type_timestamp() }}{% endmacro %}

{% macro duckdb__letta_type_timestamp() %}timestamp with time zone{% endmacro %}

{% macro postgres__letta_type_timestamp() %}timestamp with time zone{% endmacro %}

{#- There a timestamp has no time zone. -#}
{% macro snowflake__letta_type_timestamp() %}timestamp_tz{% endmacro %}

{#- letta_source writes json as text where a warehouse is not one of these. -#}
{% macro default__letta_type_json() %}{{ dbt.type_string() }}{% endmacro %}

{% macro duckdb__letta_type_json() %}json{% endmacro %}

{% macro postgres__letta_type_json() %}json{% endmacro %}
