{{ letta_staging('passages') }}
