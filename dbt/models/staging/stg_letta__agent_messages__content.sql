{{ letta_staging('agent_messages__content', always=true) }}
