"""Stored results of commit cc101f0, with which later code is compared: see `make`."""
