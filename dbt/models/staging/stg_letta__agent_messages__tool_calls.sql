{{ letta_staging('agent_messages__tool_calls', always=true) }}
