-- Every row of agent_messages__tool_calls belongs to exactly one tool call.
with loaded as (

    {{ letta_loaded_keys('agent_messages__tool_calls', ['agent_id', 'message_id', 'position', 'idx']) | indent(4) }}

),

counted as (

    select
        (select count(*) from loaded) as loaded,
        (select sum(times_seen) from {{ ref('int_letta__tool_calls') }}) as seen,
        (select sum(tool_calls) from {{ ref('letta__message_wide') }}) as wide,
        (select count(*) from {{ ref('int_letta__tool_calls') }}) as calls,
        (select sum(calls) from {{ ref('letta__tool_usage') }}) as used

)

select * from counted
where loaded <> coalesce(seen, 0)
    or loaded <> coalesce(wide, 0)
    or calls <> coalesce(used, 0)
