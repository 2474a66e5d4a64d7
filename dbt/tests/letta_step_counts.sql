-- Every step that was loaded is priced once.
with loaded as (

    {{ letta_loaded_keys('steps', ['id']) | indent(4) }}

),

counted as (

    select
        (select count(*) from loaded) as loaded,
        (select count(*) from {{ ref('letta__step_costs') }}) as priced

)

select * from counted
where loaded <> priced
