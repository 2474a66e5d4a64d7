"""Tests of `letta_source.state`."""
