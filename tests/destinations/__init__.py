"""Tests of `letta_source.destinations`."""
