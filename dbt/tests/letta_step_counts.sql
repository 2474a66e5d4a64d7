{{ config(enabled=var('letta__using_steps', true)) }}
-- Every step that was loaded is priced once.
with loaded as (

    select distinct id
    from {{ source('letta', 'steps') }}
    where _dlt_load_id in (select load_id from {{ source('letta', '_dlt_loads') }} where status = 0)

),

counted as (

    select
        (select count(*) from loaded) as loaded,
        (select count(*) from {{ ref('letta__step_costs') }}) as priced

)

select * from counted
where loaded <> priced
