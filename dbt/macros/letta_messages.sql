{#- Return the order of messages. Dates are whole seconds; within one, the server's sequence decides, which is null
in rows of early versions of letta_source. The id only makes the order stable. -#}
{% macro letta_order(table=none) %}
{%- set prefix = table ~ '.' if table else '' -%}
{%- for column in ['created_at', 'sequence', 'position', 'id'] -%}
{{ prefix }}{{ column }}{{ ", " if not loop.last }}
{%- endfor -%}
{% endmacro %}

{#- Return the condition that the server wrote a user's message: its text is JSON that begins with one of these types. -#}
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
