"""The memory of a load: cursors, unfinished runs, the state of each resource."""
