"""Operate a dataset: show its status, verify and repair it, and erase rows from it."""

DIFFERENCES = ("missing", "edited", "gone", "extra")
"""Kinds of rows that differ between server and warehouse."""
KINDS = (*DIFFERENCES, "newer", "unreadable", "not_comparable")
"""All kinds of rows that verify counts."""
