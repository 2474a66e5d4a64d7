{{ letta_staging('agent_messages__tool_returns', always=true) }}
