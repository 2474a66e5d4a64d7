{{ letta_staging('batch_messages__tool_calls') }}
