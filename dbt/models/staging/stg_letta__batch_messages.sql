{{ letta_staging('batch_messages') }}
