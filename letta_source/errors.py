"""Errors, by what can be done about them.

LettaError
├── ConfigError             wrong usage or settings: nothing was touched
│   └── InUse               another process has the DuckDB file open or runs the pipeline
├── FatalError              the whole load ends
│   ├── AuthError           401, 403
│   ├── QuotaExceeded       402, 429: a quota is used up, which waiting does not cure
│   ├── Unreachable         no usable response after all retries
│   └── NotLetta            something other than a Letta server answered
├── FamilyMissing           this host has no such endpoint: its family is skipped
├── OutputFailed            rows were found, but could not be output
│   ├── NobodyReads         the reader closed the output, as `| head` does
│   └── Changed             a load changed the tables meanwhile
└── ParentError             one agent, group, …: the others go on
    ├── ParentGone          the parent itself is gone
    └── Unreadable          the server cannot return this page
        └── NoProgress      the server returns the same page again and again
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `letta-source`; for a signal, 128 plus its number, as in shells."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERRUPTED = 130
    TERMINATED = 143


class LettaError(Exception):
    """Any error of letta_source; its message says what to do.

    Attributes:
        exit_code: exit code of a command that ends with this error.
    """

    exit_code = ExitCode.USAGE


class ConfigError(LettaError, ValueError):
    """Wrong usage or settings, found before anything was touched."""


class InUse(ConfigError):
    """Another process has the DuckDB file open, or runs the pipeline; a later try may succeed."""


class FatalError(LettaError):
    """An error that ends the whole load."""


class AuthError(FatalError):
    """The key is missing, wrong, or not allowed to read."""


class QuotaExceeded(FatalError):
    """The account's quota is used up."""


class Unreachable(FatalError):
    """The host does not answer."""


class NotLetta(FatalError):
    """Something other than a Letta server answered."""


class FamilyMissing(LettaError):
    """The host has no such family of endpoints (404, 405)."""


class ParentError(LettaError):
    """An error of one parent; the others can be read."""

    kind = "unreadable"


class ParentGone(ParentError):
    """The parent was deleted."""

    kind = "not_found"


class Unreadable(ParentError):
    """The server returns an error for this page, whatever is tried."""


class NoProgress(Unreadable):
    """The server returns a page that was already read."""

    kind = "no_progress"


class OutputFailed(LettaError):
    """Loaded rows were found, but could not be output."""

    exit_code = ExitCode.FAILED


class NobodyReads(OutputFailed):
    """The reader of standard output closed it, as `head` does: nothing is wrong."""

    exit_code = ExitCode.OK


class Changed(OutputFailed):
    """A load changed the tables while they were read, so the rows read are inconsistent."""

    def __init__(self) -> None:
        super().__init__("a load changed the tables while they were read: try again")
