{{ letta_staging('messages__tool_returns') }}
