{{ letta_staging('message_search__approvals') }}
