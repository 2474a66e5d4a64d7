"""Speak HTTP with a Letta server: requests, retries, rate limit, and what an answer means."""
