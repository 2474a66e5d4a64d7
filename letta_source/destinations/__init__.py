"""Abilities of destinations, and the upkeep of them that dlt leaves to us."""
