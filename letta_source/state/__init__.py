"""What a load remembers: cursors, unfinished runs, the state of each resource."""
