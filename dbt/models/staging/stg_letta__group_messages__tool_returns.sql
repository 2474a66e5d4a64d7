{{ letta_staging('group_messages__tool_returns') }}
