"""HTTP with a Letta server: requests, retries, rate limit, and the meaning of responses."""
