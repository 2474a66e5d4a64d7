{{ letta_staging('agent_blocks') }}
