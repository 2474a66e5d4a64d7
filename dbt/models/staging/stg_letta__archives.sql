{{ letta_staging('archives') }}
