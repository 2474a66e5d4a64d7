"""The command line, `letta-source`: one module for each command."""

from letta_source.cli.app import command, main

__all__ = ["command", "main"]
