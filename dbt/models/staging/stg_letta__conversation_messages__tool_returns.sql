{{ letta_staging('conversation_messages__tool_returns') }}
