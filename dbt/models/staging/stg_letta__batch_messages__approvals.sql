-- Made by generate.py.
{{ config(enabled=var('letta__using_batch_messages', true)) }}

{{ letta_staging(
    using=var('letta__using_batch_messages', true),
    table=source('letta', 'batch_messages__approvals'),
    loads=source('letta', '_dlt_loads'),
    key=['batch_id', 'message_id', 'position', 'idx'],
    columns=[
        ('batch_id', 'text'),
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
