{{ letta_staging('agents', always=true) }}
