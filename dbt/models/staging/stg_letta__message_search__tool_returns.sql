-- Made by generate.py.
{{ config(enabled=var('letta__using_message_search', false)) }}

{{ letta_staging(
    using=var('letta__using_message_search', false),
    table=source('letta', 'message_search__tool_returns'),
    loads=source('letta', '_dlt_loads'),
    key=['query', 'message_id', 'position', 'idx'],
    columns=[
        ('query', 'text'),
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
