{#- Return the only id in a JSON array of ids; null if there are none or several. -#}
{% macro letta_only_identity(ids) %}
{%- set text -%}
cast({{ ids }} as {{ dbt.type_string() }})
{%- endset -%}
case
        when {{ text }} like '["%"]' and {{ text }} not like '%,%'
            then replace(replace({{ text }}, '["', ''), '"]', '')
    end
{%- endmacro %}
