{{ letta_staging('conversation_messages') }}
