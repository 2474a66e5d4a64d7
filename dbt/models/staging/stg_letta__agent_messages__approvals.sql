-- Made by generate.py.
{{ letta_staging(
    using=var('letta__using_agent_messages', true),
    table=source('letta', 'agent_messages__approvals'),
    loads=source('letta', '_dlt_loads'),
    key=['agent_id', 'message_id', 'position', 'idx'],
    columns=[
        ('agent_id', 'text'),
        ('message_id', 'text'),
        ('position', 'bigint'),
        ('idx', 'bigint'),
        ('tool_call_id', 'text'),
        ('type', 'text'),
        ('approve', 'bool'),
        ('reason', 'text'),
        ('status', 'text'),
        ('tool_return', 'text'),
        ('stdout', 'json'),
        ('stderr', 'json'),
        ('_dlt_load_id', 'text'),
    ],
) }}
