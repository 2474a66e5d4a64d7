{{ letta_staging('blocks') }}
