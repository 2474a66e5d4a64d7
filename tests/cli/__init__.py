"""Tests of `letta_source.cli`."""
