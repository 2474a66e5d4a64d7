-- Made by generate.py.
{{ config(enabled=var('letta__using_conversation_messages', false)) }}

{{ letta_staging(
    using=var('letta__using_conversation_messages', false),
    table=source('letta', 'conversation_messages__tool_returns'),
    loads=source('letta', '_dlt_loads'),
    key=['conversation_id', 'message_id', 'position', 'idx'],
    columns=[
        ('conversation_id', 'text'),
        ('message_id', 'text'),
        ('position', 'bigint'),
        ('idx', 'bigint'),
        ('tool_call_id', 'text'),
        ('status', 'text'),
        ('tool_return', 'text'),
        ('stdout', 'json'),
        ('stderr', 'json'),
        ('type', 'text'),
        ('_dlt_load_id', 'text'),
    ],
) }}
