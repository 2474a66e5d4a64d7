"""Tests of `letta_source.operate`."""
