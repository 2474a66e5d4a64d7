"""Capabilities of destinations, and the maintenance of them that dlt does not do."""
