{#- Return the user's choice for a family: true (it must be loaded), false (it is left out), none (if it exists).

A family that is loaded on request is left out by default.
-#}
{% macro letta_using(family) %}
{{- return(var('letta__using_' ~ family, none if letta_schema()['families'][family]['on'] else false)) -}}
{% endmacro %}

{#- Return true if a table of the source exists and its family is not left out. Call it only while `execute`.

Raises a compiler error if the schema has no load of letta_source, or lacks a family that must be loaded.
-#}
{% macro letta_loaded(name) %}
{%- set family = name.split('__')[0] -%}
{%- set using, loads = letta_using(family), source('letta', '_dlt_loads') -%}
{%- if not load_relation(loads) -%}
    {{ exceptions.raise_compiler_error(
        loads ~ " is not there: nothing was loaded into this schema. Set the variable letta_schema to the dataset"
        ~ " of letta-source run (--dataset-name), and letta_database to its database."
    ) }}
{%- endif -%}
{%- if using and not load_relation(source('letta', family)) -%}
    {{ exceptions.raise_compiler_error(
        source('letta', family) ~ " is not there, and the variable letta__using_" ~ family ~ " is true. Load "
        ~ family ~ ", or remove the variable."
    ) }}
{%- endif -%}
{{- return((using or using is none) and load_relation(source('letta', name)) is not none) -}}
{% endmacro %}

{#- Select the keys of a table's rows of completed loads; no rows if the table is not loaded. -#}
{% macro letta_loaded_keys(name, columns) %}
{%- set table, loads = source('letta', name), source('letta', '_dlt_loads') -%}
{%- if execute and not letta_loaded(name) -%}
select 1 as nothing from {{ loads }} where 1 = 0
{%- else -%}
select distinct {{ columns | join(', ') }}
from {{ table }}
where _dlt_load_id in (select load_id from {{ loads }} where status = 0)
{%- endif -%}
{% endmacro %}
