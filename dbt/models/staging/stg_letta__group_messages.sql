{{ letta_staging('group_messages') }}
