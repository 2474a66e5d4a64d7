{{ letta_staging('message_search__content') }}
