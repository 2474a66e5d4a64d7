"""Tests of `letta_source.models`."""
