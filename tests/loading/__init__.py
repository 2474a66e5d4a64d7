"""Tests of `letta_source.loading`."""
