{{ letta_staging('runs', always=true) }}
