{{ letta_staging('conversations', always=true) }}
