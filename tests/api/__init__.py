"""Tests of `letta_source.api`."""
