"""Tests of `letta_source.extract`."""
