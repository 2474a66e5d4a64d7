{{ letta_staging('step_messages') }}
