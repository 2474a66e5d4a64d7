{% test letta_parent(model, column_name, to, table) %}
-- Every parent that a row names exists, if parents are loaded: a load of messages alone has none.
select child.{{ column_name }}
from {{ model }} as child
{%- if execute and not letta_loaded(table) %}
where 1 = 0
{%- else %}
left join {{ to }} as parent
    on child.{{ column_name }} = parent.id
where child.{{ column_name }} is not null and parent.id is null
{%- endif %}
{% endtest %}
