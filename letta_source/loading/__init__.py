"""Run a load: preflight, recovery, load packages, outcome."""
