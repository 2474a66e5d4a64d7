{#- What makes a model incremental by agent: the rows of agents that changed are deleted and made anew.

A row carries the version that its agent had (`int_letta__agent_versions`). A turn, a call and a chunk depend on
all that precedes them in the agent's messages, and rows come late, so an agent is the smallest part that can be
made by itself.
-#}
{% macro letta_incremental() %}
{{- config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='sync_all_columns',
    pre_hook="{{ letta_delete_changed() }}",
) -}}
{% endmacro %}

{#- Whether this run adds to a table that an earlier one made. One of a version of this package that built whole
tables has no versions: its rows are all deleted. -#}
{% macro letta_adds() %}
{%- if not is_incremental() -%}{{- return(false) -}}{%- endif -%}
{%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | map('lower') | list -%}
{{- return('agent_version' in columns) -}}
{% endmacro %}

{% macro letta_delete_changed() %}
{%- if is_incremental() -%}
delete from {{ this }}
{%- if letta_adds() %}
where agent_version not in (select agent_version from {{ ref('int_letta__agent_versions') }})
{%- endif -%}
{%- endif -%}
{% endmacro %}

{#- A condition: the row is of an agent that is to be made. -#}
{% macro letta_is_changed(agent_id='agent_id') %}
{%- set versions = ref('int_letta__agent_versions') -%}
{%- if letta_adds() -%}
{{ agent_id }} in (
        select agent_id from {{ versions }}
        where agent_version not in (select distinct agent_version from {{ this }})
    )
{%- else -%}
1 = 1
{%- endif -%}
{% endmacro %}
