{% test letta_relationship(model, columns, to, to_columns) %}
-- Every row has its parent.
select {% for column in columns %}child.{{ column }}{{ ", " if not loop.last }}{% endfor %}
from {{ model }} as child
left join {{ to }} as parent
    on {% for column in columns -%}
    child.{{ column }} = parent.{{ to_columns[loop.index0] }}{{ " and " if not loop.last }}
    {%- endfor %}
where parent.{{ to_columns[0] }} is null
{% endtest %}
