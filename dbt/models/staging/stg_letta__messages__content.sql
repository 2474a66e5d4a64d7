{{ letta_staging('messages__content') }}
