"""Tests of `letta_source.export`."""
