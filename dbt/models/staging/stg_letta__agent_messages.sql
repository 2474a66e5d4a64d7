{{ letta_staging('agent_messages', always=true) }}
