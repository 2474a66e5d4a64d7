-- Made by generate.py.
{{ config(enabled=var('letta__using_groups', true)) }}

{{ letta_staging(
    using=var('letta__using_groups', true),
    table=source('letta', 'groups'),
    loads=source('letta', '_dlt_loads'),
    key=['id'],
    columns=[
        ('id', 'text'),
        ('manager_type', 'text'),
        ('description', 'text'),
        ('agent_ids', 'json'),
        ('manager_agent_id', 'text'),
        ('termination_token', 'text'),
        ('max_turns', 'bigint'),
        ('sleeptime_agent_frequency', 'bigint'),
        ('turns_counter', 'bigint'),
        ('last_processed_message_id', 'text'),
        ('max_message_buffer_length', 'bigint'),
        ('min_message_buffer_length', 'bigint'),
        ('shared_block_ids', 'json'),
        ('project_id', 'text'),
        ('template_id', 'text'),
        ('base_template_id', 'text'),
        ('deployment_id', 'text'),
        ('hidden', 'bool'),
        ('extra', 'json'),
        ('_dlt_load_id', 'text'),
    ],
) }}
