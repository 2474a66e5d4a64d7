-- Made by generate.py.
{{ letta_staging(
    using=var('letta__using_load_issues', true),
    table=source('letta', 'load_issues'),
    loads=source('letta', '_dlt_loads'),
    key=['load_started_at', 'resource', 'parent_id', 'kind', 'after_id', 'before_id'],
    columns=[
        ('load_started_at', 'timestamp'),
        ('resource', 'text'),
        ('parent_id', 'text'),
        ('kind', 'text'),
        ('detail', 'text'),
        ('after_id', 'text'),
        ('before_id', 'text'),
        ('_dlt_load_id', 'text'),
    ],
) }}
