"""Every table and column, and one card for each resource with all facts about it."""
