"""Walk a list to its end, whatever the server's dialect, past items that it cannot return."""
