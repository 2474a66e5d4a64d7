{#- The one id in a JSON array of ids; null where there is none, or several. -#}
{% macro letta_only_identity(ids) %}
{%- set text -%}
cast({{ ids }} as {{ dbt.type_string() }})
{%- endset -%}
case
        when {{ text }} like '["%"]' and {{ text }} not like '%,%'
            then replace(replace({{ text }}, '["', ''), '"]', '')
    end
{%- endmacro %}
