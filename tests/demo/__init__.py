"""Tests of `letta_source.demo`."""
