-- Made by generate.py.
{{ config(enabled=var('letta__using_messages', false)) }}

{{ letta_staging(
    using=var('letta__using_messages', false),
    table=source('letta', 'messages__content'),
    loads=source('letta', '_dlt_loads'),
    key=['message_id', 'position', 'idx'],
    columns=[
        ('message_id', 'text'),
        ('position', 'bigint'),
        ('idx', 'bigint'),
        ('type', 'text'),
        ('text', 'text'),
        ('signature', 'text'),
        ('reasoning', 'text'),
        ('is_native', 'bool'),
        ('data', 'text'),
        ('source_type', 'text'),
        ('url', 'text'),
        ('media_type', 'text'),
        ('file_id', 'text'),
        ('detail', 'text'),
        ('tool_call_id', 'text'),
        ('name', 'text'),
        ('input', 'json'),
        ('is_error', 'bool'),
        ('content_id', 'text'),
        ('summary', 'json'),
        ('encrypted_content', 'text'),
        ('extra', 'json'),
        ('_dlt_load_id', 'text'),
    ],
) }}
