{#- Configure a snapshot. A version begins with the load that brought it, not with the build. -#}
{% macro letta_snapshot(key, checked, of_ids, also=true) %}
{{- config(
    enabled=var('letta_snapshots', false) and also,
    unique_key=key,
    strategy='check',
    check_cols=checked + ['_letta_deleted_at'],
    updated_at='loaded_at',
    post_hook="{{ letta_forget(" ~ of_ids ~ ") }}",
) -}}
{% endmacro %}

{#- Select the end of each completed load, in the type of dbt's own times. -#}
{% macro letta_load_times() %}
select
    load_id,
    {{ letta_utc('max(inserted_at)') }} as loaded_at
from {{ source('letta', '_dlt_loads') }}
where status = 0
group by load_id
{%- endmacro %}

{#- Delete the versions of rows that `letta-source erase` removed from the tables. -#}
{% macro letta_forget(columns) %}
{%- if execute and load_relation(source('letta', 'erased')) -%}
delete from {{ this }}
where
    {%- for column in columns %}
    {{ column }} in (select id from {{ source('letta', 'erased') }}){{ " or" if not loop.last }}
    {%- endfor %}
{%- endif -%}
{% endmacro %}
