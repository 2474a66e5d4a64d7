{% snapshot letta__blocks_snapshot %}
{{ letta_snapshot(
    'block_id', ['label', 'value', 'description', 'char_limit', 'read_only'], ['block_id'],
    also=letta_using('blocks')
) }}
select
    blocks.id as block_id,
    blocks.label,
    blocks.value,
    blocks.description,
    blocks.char_limit,
    blocks.read_only,
    blocks._letta_deleted_at,
    loads.loaded_at
from {{ ref('stg_letta__blocks') }} as blocks
inner join ({{ letta_load_times() }}) as loads
    on loads.load_id = blocks._dlt_load_id
{% endsnapshot %}
