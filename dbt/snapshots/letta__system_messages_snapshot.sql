{% snapshot letta__system_messages_snapshot %}
{{ letta_snapshot('message_key', ['text'], ['agent_id', 'message_id']) }}
select
    {{ letta_key(['messages.agent_id', 'messages.id', 'messages.position']) }} as message_key,
    messages.agent_id,
    messages.id as message_id,
    messages.position,
    messages.created_at,
    messages.text,
    messages._letta_deleted_at,
    loads.loaded_at
from {{ ref('stg_letta__agent_messages') }} as messages
inner join ({{ letta_load_times() }}) as loads
    on loads.load_id = messages._dlt_load_id
where messages.message_type = 'system_message'
{% endsnapshot %}
