{#- Make a model incremental by agent: the rows of agents that changed are deleted and rebuilt.

Each row has the version of its agent (`int_letta__agent_versions`). A turn, a call and a chunk depend on all
earlier messages of the agent, and rows may come late, so an agent is the smallest part that can be rebuilt alone.
-#}
{% macro letta_incremental() %}
{{- config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='sync_all_columns',
    pre_hook="{{ letta_delete_changed() }}",
) -}}
{% endmacro %}

{#- Return true if this run adds to an existing table. A table without versions, built by an early version of this
package, does not count: all its rows are deleted. -#}
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

{#- Return the condition that a row belongs to an agent to be rebuilt. -#}
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
