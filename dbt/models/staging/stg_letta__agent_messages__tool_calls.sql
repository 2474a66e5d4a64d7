-- Made by generate.py.
{{ letta_staging(
    using=var('letta__using_agent_messages', true),
    table=source('letta', 'agent_messages__tool_calls'),
    loads=source('letta', '_dlt_loads'),
    key=['agent_id', 'message_id', 'position', 'idx'],
    columns=[
        ('agent_id', 'text'),
        ('message_id', 'text'),
        ('position', 'bigint'),
        ('idx', 'bigint'),
        ('tool_call_id', 'text'),
        ('name', 'text'),
        ('arguments', 'text'),
        ('arguments_json', 'json'),
        ('type', 'text'),
        ('_dlt_load_id', 'text'),
    ],
) }}
