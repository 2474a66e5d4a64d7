-- Made by generate.py.
{{ config(enabled=var('letta__using_step_messages', true)) }}

{{ letta_staging(
    using=var('letta__using_step_messages', true),
    table=source('letta', 'step_messages__tool_returns'),
    loads=source('letta', '_dlt_loads'),
    key=['step_id', 'message_id', 'position', 'idx'],
    columns=[
        ('step_id', 'text'),
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
