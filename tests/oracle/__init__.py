"""What commit cc101f0 did, kept to compare later code with: see `make`."""
