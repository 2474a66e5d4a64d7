-- Every message that was loaded is in the marts, once.
with loaded as (

    {{ letta_loaded_keys('agent_messages', ['agent_id', 'id', 'position']) | indent(4) }}

),

counted as (

    select
        (select count(*) from loaded) as loaded,
        (select count(*) from {{ ref('letta__message_wide') }}) as wide,
        (select sum(messages) from {{ ref('letta__conversations') }}) as in_conversations,
        (select count(*) from {{ ref('letta__message_wide') }} where created_at is not null) as dated,
        (select sum(messages) from {{ ref('letta__agent_daily') }}) as daily,
        (select count(*) from {{ ref('letta__message_wide') }} where turn_id is not null) as with_turn,
        (select sum(messages) from {{ ref('letta__turns') }}) as in_turns

)

select * from counted
where loaded <> wide
    or loaded <> coalesce(in_conversations, 0)
    or dated <> coalesce(daily, 0)
    or with_turn <> coalesce(in_turns, 0)
