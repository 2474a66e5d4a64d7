"""The speed of a load, compared with other ways to load and with what the machine can do at all."""
