{{ letta_staging('step_messages__content') }}
