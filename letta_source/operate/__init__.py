"""Run it for years: what state a dataset is in, and what is to be removed from it."""
