-- Made by generate.py.
{{ letta_staging(
    using=var('letta__using_conversations', true),
    table=source('letta', 'conversations'),
    loads=source('letta', '_dlt_loads'),
    key=['id'],
    columns=[
        ('id', 'text'),
        ('agent_id', 'text'),
        ('created_at', 'timestamp'),
        ('updated_at', 'timestamp'),
        ('created_by_id', 'text'),
        ('last_updated_by_id', 'text'),
        ('summary', 'text'),
        ('last_message_at', 'timestamp'),
        ('in_context_message_ids', 'json'),
        ('isolated_block_ids', 'json'),
        ('model', 'text'),
        ('model_settings', 'json'),
        ('extra', 'json'),
        ('_dlt_load_id', 'text'),
    ],
) }}
