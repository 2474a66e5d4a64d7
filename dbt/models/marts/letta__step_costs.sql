with steps as (

    select * from {{ ref('stg_letta__steps') }}

),

runs as (

    select * from {{ ref('stg_letta__runs') }}

),

prices as (

    select * from {{ ref('int_letta__model_prices') }}

),

said as (

    select
        agent_id,
        step_id,
        conversation_key,
        turn_id,
        created_at,
        row_number() over (partition by step_id order by turn_index, message_index) as row_index
    from {{ ref('int_letta__messages') }}
    where step_id is not null

),

priced as (

    select
        steps.*,
        coalesce(by_handle.input_price, by_model.input_price) as input_price,
        coalesce(by_handle.cached_input_price, by_model.cached_input_price) as cached_input_price,
        coalesce(by_handle.cache_write_price, by_model.cache_write_price) as cache_write_price,
        coalesce(by_handle.output_price, by_model.output_price) as output_price,
        coalesce(steps.cached_input_tokens, 0) as cached,
        coalesce(steps.cache_write_tokens, 0) as written,
        -- Providers count cached tokens as part of the prompt; otherwise this would be negative.
        case
            when coalesce(steps.prompt_tokens, 0)
                < coalesce(steps.cached_input_tokens, 0) + coalesce(steps.cache_write_tokens, 0) then 0
            else coalesce(steps.prompt_tokens, 0)
                - coalesce(steps.cached_input_tokens, 0) - coalesce(steps.cache_write_tokens, 0)
        end as uncached
    from steps
    left join prices as by_handle
        on by_handle.model = steps.model_handle
    left join prices as by_model
        on by_model.model = steps.model

)

select
    priced.id as step_id,
    priced.run_id,
    coalesce(priced.agent_id, runs.agent_id, said.agent_id) as agent_id,
    said.conversation_key,
    coalesce(said.turn_id, run_turns.turn_id) as turn_id,
    -- Steps have no date in the API.
    coalesce(said.created_at, runs.created_at) as created_at,
    priced.status,
    priced.stop_reason,
    priced.feedback,
    priced.provider_name,
    priced.model,
    priced.model_handle,
    priced.prompt_tokens,
    priced.cached_input_tokens,
    priced.cache_write_tokens,
    priced.completion_tokens,
    priced.reasoning_tokens,
    priced.total_tokens,
    priced.input_price,
    priced.cached_input_price,
    priced.cache_write_price,
    priced.output_price,
    priced.input_price is not null as is_priced,
    priced.uncached * priced.input_price / 1000000.0 as input_cost,
    priced.cached * priced.cached_input_price / 1000000.0 as cached_input_cost,
    priced.written * priced.cache_write_price / 1000000.0 as cache_write_cost,
    coalesce(priced.completion_tokens, 0) * priced.output_price / 1000000.0 as output_cost,
    (
        priced.uncached * priced.input_price
        + priced.cached * priced.cached_input_price
        + priced.written * priced.cache_write_price
        + coalesce(priced.completion_tokens, 0) * priced.output_price
    ) / 1000000.0 as cost
from priced
left join said
    on said.step_id = priced.id
    and said.row_index = 1
left join runs
    on runs.id = priced.run_id
left join {{ ref('int_letta__run_turns') }} as run_turns
    on run_turns.run_id = priced.run_id
    and run_turns.agent_id = coalesce(priced.agent_id, runs.agent_id)
