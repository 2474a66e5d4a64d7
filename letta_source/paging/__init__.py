"""Walk a list to its end, whatever the server's dialect, past what it cannot give."""
