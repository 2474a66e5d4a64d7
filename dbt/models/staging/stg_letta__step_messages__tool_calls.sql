{{ letta_staging('step_messages__tool_calls') }}
