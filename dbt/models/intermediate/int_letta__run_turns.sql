-- A run belongs to the turn of its first message.
with messages as (

    select
        agent_id,
        run_id,
        turn_id,
        row_number() over (
            partition by agent_id, run_id order by turn_index, message_index
        ) as row_index
    from {{ ref('int_letta__messages') }}
    where run_id is not null and turn_id is not null

)

select
    {{ letta_key(['agent_id', 'run_id']) }} as run_turn_key,
    agent_id,
    run_id,
    turn_id
from messages
where row_index = 1
