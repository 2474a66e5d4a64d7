"""Tests of `letta_source.report`."""
