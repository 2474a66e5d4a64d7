"""Tests against the real Letta server, run from packages on loopback, and compared with its database."""
