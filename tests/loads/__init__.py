"""Whole loads: their requests, their rows, and how the next load continues."""
