{#- Return the seconds between two times, with their fraction. -#}
{% macro letta_seconds(earlier, later) %}
{{- adapter.dispatch('letta_seconds', 'letta')(earlier, later) -}}
{% endmacro %}

{% macro default__letta_seconds(earlier, later) %}
cast({{ dbt.datediff(earlier, later, 'millisecond') }} / 1000.0 as {{ letta_type('double') }})
{%- endmacro %}

{% macro snowflake__letta_seconds(earlier, later) %}
cast(datediff(microsecond, {{ earlier }}, {{ later }}) / 1000000.0 as {{ letta_type('double') }})
{%- endmacro %}

{% macro duckdb__letta_seconds(earlier, later) %}
cast(date_diff('microsecond', {{ earlier }}, {{ later }}) / 1000000.0 as {{ letta_type('double') }})
{%- endmacro %}

{% macro postgres__letta_seconds(earlier, later) %}
cast(extract(epoch from ({{ later }} - {{ earlier }})) as {{ letta_type('double') }})
{%- endmacro %}

{#- Return the day of a time, in the time zone of the variable letta_time_zone. -#}
{% macro letta_day(moment) %}
{{- adapter.dispatch('letta_day', 'letta')(moment) -}}
{% endmacro %}

{#- Times without a zone are in UTC. -#}
{% macro default__letta_day(moment) %}cast({{ moment }} as date){% endmacro %}

{% macro duckdb__letta_day(moment) %}
cast({{ moment }} at time zone '{{ var("letta_time_zone", "UTC") }}' as date)
{%- endmacro %}

{% macro postgres__letta_day(moment) %}
cast({{ moment }} at time zone '{{ var("letta_time_zone", "UTC") }}' as date)
{%- endmacro %}

{% macro snowflake__letta_day(moment) %}
cast(convert_timezone('{{ var("letta_time_zone", "UTC") }}', {{ moment }}) as date)
{%- endmacro %}

{#- Return a time in UTC, without a zone if dbt's snapshots have none. -#}
{% macro letta_utc(moment) %}
{{- adapter.dispatch('letta_utc', 'letta')(moment) -}}
{% endmacro %}

{% macro default__letta_utc(moment) %}{{ moment }}{% endmacro %}

{% macro duckdb__letta_utc(moment) %}{{ moment }} at time zone 'UTC'{% endmacro %}

{% macro postgres__letta_utc(moment) %}{{ moment }} at time zone 'UTC'{% endmacro %}

{% macro snowflake__letta_utc(moment) %}cast(convert_timezone('UTC', {{ moment }}) as timestamp_ntz){% endmacro %}
