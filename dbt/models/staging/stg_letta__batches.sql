-- Made by generate.py.
{{ config(enabled=var('letta__using_batches', true)) }}

{{ letta_staging(
    using=var('letta__using_batches', true),
    table=source('letta', 'batches'),
    loads=source('letta', '_dlt_loads'),
    key=['id'],
    columns=[
        ('id', 'text'),
        ('status', 'text'),
        ('created_at', 'timestamp'),
        ('updated_at', 'timestamp'),
        ('created_by_id', 'text'),
        ('last_updated_by_id', 'text'),
        ('completed_at', 'timestamp'),
        ('stop_reason', 'text'),
        ('job_type', 'text'),
        ('user_id', 'text'),
        ('agent_id', 'text'),
        ('background', 'bool'),
        ('metadata', 'json'),
        ('callback_url', 'text'),
        ('callback_sent_at', 'timestamp'),
        ('callback_status_code', 'bigint'),
        ('callback_error', 'text'),
        ('ttft_ns', 'bigint'),
        ('total_duration_ns', 'bigint'),
        ('extra', 'json'),
        ('_dlt_load_id', 'text'),
    ],
) }}
