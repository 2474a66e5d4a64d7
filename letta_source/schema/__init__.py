"""Every table and column, and one card a resource: all that is true of it."""
