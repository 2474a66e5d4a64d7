"""`python -m letta_source` is `letta-source`."""

from letta_source.cli import command

if __name__ == "__main__":
    command()
