"""Operate a dataset: show its status, verify and repair it, and erase rows from it."""
