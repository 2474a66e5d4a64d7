{{ letta_staging('message_search__tool_returns') }}
