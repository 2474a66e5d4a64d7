"""Errors, by what can be done about them.

LettaError
├── ConfigError             wrong usage or settings: nothing was touched
│   └── InUse               another process has the DuckDB file or runs the pipeline
├── FatalError              the whole load ends
│   ├── AuthError           401, 403
│   ├── QuotaExceeded       402, 429: nothing more is given, however long we wait
│   ├── Unreachable         no answer, or none that helps, after all tries
│   └── NotLetta            something else than a Letta server answered
├── FamilyMissing           this host has no such endpoint: its family is skipped
├── OutputFailed            rows were found, but could not be given out
│   ├── NobodyReads         `| head` had enough
│   └── Changed             a load changed the tables meanwhile
└── ParentError             one agent, group, …: the others go on
    ├── ParentGone          the parent itself is gone
    └── Unreadable          the server cannot give this page
        └── NoProgress      the server gives the same page again and again
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `letta-source`; a signal's are 128 and its number, as shells have it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    INTERRUPTED = 130
    TERMINATED = 143


class LettaError(Exception):
    """Any error of letta_source; its message says what to do.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code = ExitCode.USAGE


class ConfigError(LettaError, ValueError):
    """Wrong usage or settings, found before anything was touched."""


class InUse(ConfigError):
    """Another process has the DuckDB file open, or runs the pipeline; later it may be free."""


class FatalError(LettaError):
    """Ends the whole load."""


class AuthError(FatalError):
    """The key is missing, wrong, or not allowed to read."""


class QuotaExceeded(FatalError):
    """The account's quota is used up."""


class Unreachable(FatalError):
    """The host does not answer."""


class NotLetta(FatalError):
    """Something else than a Letta server answered."""


class FamilyMissing(LettaError):
    """The host has no such family of endpoints (404, 405)."""


class ParentError(LettaError):
    """Concerns one parent; the others can be read."""

    kind = "unreadable"


class ParentGone(ParentError):
    """The parent was deleted."""

    kind = "not_found"


class Unreadable(ParentError):
    """The server answers this page with an error, whatever is tried."""


class NoProgress(Unreadable):
    """The server gives a page that was already read."""

    kind = "no_progress"


class OutputFailed(LettaError):
    """Loaded rows were found, but could not be given out."""

    exit_code = ExitCode.FAILED


class NobodyReads(OutputFailed):
    """Whoever read standard output had enough of it, as `head` has: nothing is wrong."""

    exit_code = ExitCode.OK


class Changed(OutputFailed):
    """A load changed the tables while they were read: what was read of them does not fit together."""

    def __init__(self) -> None:
        super().__init__("a load changed the tables while they were read: try again")
