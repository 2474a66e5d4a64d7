"""Tests of `letta_source.plan`."""
