"""Tests of `letta_source.schema`."""
