"""Whole loads: what is asked for, what lands, and how the next load goes on."""
