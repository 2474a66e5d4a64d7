{{ letta_staging('step_metrics') }}
