"""Tests of `letta_source.paging`."""
