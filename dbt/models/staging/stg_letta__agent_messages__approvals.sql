{{ letta_staging('agent_messages__approvals', always=true) }}
