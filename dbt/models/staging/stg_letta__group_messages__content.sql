{{ letta_staging('group_messages__content') }}
