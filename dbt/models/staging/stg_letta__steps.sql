{{ letta_staging('steps', always=true) }}
