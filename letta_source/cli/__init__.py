"""The command line, `letta-source`: a module a command."""

from letta_source.cli.app import command, main

__all__ = ["command", "main"]
