{{ letta_staging('messages') }}
