{#- The order of messages. Dates are whole seconds; within one, the server's own order, which rows of an older
version of letta_source do not have. The id only makes the order the same each time. -#}
{% macro letta_order(table=none) %}
{%- set prefix = table ~ '.' if table else '' -%}
{%- for column in ['created_at', 'sequence', 'position', 'id'] -%}
{{ prefix }}{{ column }}{{ ", " if not loop.last }}
{%- endfor -%}
{% endmacro %}

{#- Whether the text of a user's message is the server's: JSON that begins with one of its own types. -#}
{% macro letta_is_event(text) %}
{%- set start -%}
replace(replace(replace(replace(substring({{ text }}, 1, 40), ' ', ''), chr(9), ''), chr(10), ''), chr(13), '')
{%- endset -%}
(
    {%- for type in ['login', 'heartbeat', 'system_alert'] %}
    {{ start }} like '{"type":"{{ type }}"%'{{ " or" if not loop.last }}
    {%- endfor %}
)
{%- endmacro %}
