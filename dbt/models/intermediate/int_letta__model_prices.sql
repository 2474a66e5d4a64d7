{%- set own = var('letta_model_prices', none) %}
select
    model,
    cast(input_price as {{ letta_type('double') }}) as input_price,
    cast(coalesce(cached_input_price, input_price) as {{ letta_type('double') }}) as cached_input_price,
    cast(coalesce(cache_write_price, input_price) as {{ letta_type('double') }}) as cache_write_price,
    cast(output_price as {{ letta_type('double') }}) as output_price
from {{ own if own else ref('letta_model_prices') }}
