{{ letta_staging('tools') }}
