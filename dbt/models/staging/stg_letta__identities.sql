{{ letta_staging('identities') }}
