{{ letta_staging('batch_messages__content') }}
