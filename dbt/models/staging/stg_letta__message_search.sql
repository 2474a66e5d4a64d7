{{ letta_staging('message_search') }}
