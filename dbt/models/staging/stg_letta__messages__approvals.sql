{{ letta_staging('messages__approvals') }}
