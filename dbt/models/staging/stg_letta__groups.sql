{{ letta_staging('groups') }}
