{{ letta_staging('batches') }}
