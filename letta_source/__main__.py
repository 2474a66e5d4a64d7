"""The command `letta-source` as `python -m letta_source`."""

from letta_source.cli import command

if __name__ == "__main__":
    command()
