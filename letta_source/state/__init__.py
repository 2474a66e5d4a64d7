"""The state of each resource (cursors, unfinished runs, known issues) and the session of a load."""
