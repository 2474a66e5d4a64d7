"""The command line, `letta-source`: a module a command."""
