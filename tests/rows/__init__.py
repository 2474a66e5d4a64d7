"""Tests of `letta_source.rows`."""
