"""Tests of `letta_source.settings`."""
