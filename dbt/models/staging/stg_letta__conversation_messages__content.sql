{{ letta_staging('conversation_messages__content') }}
