"""Tests against the real Letta server, run from packages on loopback; its own database is the truth."""
