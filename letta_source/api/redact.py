"""Redaction of secrets in texts from others, and in tracebacks: a server or proxy may echo the request.

Where a connection breaks, variables of HTTP libraries hold the headers with the key or a proxy's password,
and those of drivers hold the database's password. A crash reporter would send them: `keep_our_frames` drops
the frames of others. The errors, their texts and their causes stay.
"""

from __future__ import annotations

import html
import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from letta_source.api import transport
from letta_source.safe_text import visible

_PIECE = 8
"""Characters; pieces of a secret are redacted too, as a text may be cut within it."""
_LEAST = 4
"""Characters; a shorter header value, such as 1 or on, reveals nothing and occurs in any text."""
_MASK = "\x00"
_OURS = str(Path(__file__).parents[1])
# Modules of ours between two libraries: their frames hold the arguments that they pass on.
_BETWEEN = {transport.__file__, __file__}


class Redactor:
    """Callable that replaces secrets and pieces of them by ***: plain, or for URLs, JSON, HTML or base64.

    It alone holds the secrets as plain text, in no attribute or variable whose repr shows them.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._pieces = _Pieces()
        for secret in secrets:
            self._pieces.add(secret)

    def __call__(self, text: str) -> str:
        """Return the text without the secrets, with invisible characters escaped."""
        return visible(self.redacted(text), keep="\n\t")

    def redacted(self, text: str) -> str:
        """Return the text without the secrets."""
        # Pieces are looked up in the original text, so that overlapping ones are all masked.
        shown = list(text)
        for size, pieces in self._pieces.by_size.items():
            for at in range(len(text) - size + 1):
                if text[at : at + size] in pieces:
                    shown[at : at + size] = _MASK * size
        return re.sub(f"{_MASK}+", "***", "".join(shown)) if _MASK in shown else text

    def redact_error(self, error: BaseException | None) -> None:
        """Remove the secrets from the texts of an error and of its causes."""
        seen: set[int] = set()
        # Contexts may be circular.
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            error.args = tuple(self.redacted(arg) if isinstance(arg, str) else arg for arg in error.args)
            error = error.__cause__ or error.__context__


class _Pieces:
    """Pieces of secrets by size; its repr shows none."""

    def __init__(self) -> None:
        self.by_size: dict[int, _Hidden] = {}

    def add(self, secret: SecretStr) -> None:
        if len(secret) < _LEAST:
            return
        size = min(_PIECE, len(secret))
        self.by_size.setdefault(size, _Hidden()).update(
            form[at : at + size]
            for form in _forms(secret, others=size == _PIECE)
            for at in range(len(form) - size + 1)
        )


class _Hidden(set[str]):
    def __repr__(self) -> str:
        return f"<{len(self)} pieces>"


def _forms(secret: SecretStr, others: bool) -> Iterator[str]:
    yield secret.get_secret_value()
    if not others:
        return
    yield quote(secret.get_secret_value(), safe="")
    # Some proxies write hexadecimal digits in lower case.
    yield re.sub("%..", lambda found: found[0].lower(), quote(secret.get_secret_value(), safe=""))
    # Web pages of gateways show headers.
    yield html.escape(secret.get_secret_value())
    yield json.dumps(secret.get_secret_value())[1:-1]
    for encode in (b64encode, urlsafe_b64encode):
        # The secret may start at any of three base64 offsets; the characters it shares are left out.
        for before in range(3):
            yield (
                encode(b"\x00" * before + secret.get_secret_value().encode())
                .decode()
                .rstrip("=")[before and before + 1 : -1]
            )


def redactor_of(request: httpx.Request) -> Redactor:
    """Return the redactor of the secrets that a request was sent with."""
    found = request.extensions.get(EXTENSION)
    return found if isinstance(found, Redactor) else Redactor()


EXTENSION = "letta_source_redactor"
"""The request extension that holds the redactor of its secrets."""


class RedactingFilter(logging.Filter):
    """Logging filter that redacts secrets and drops no record."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record's text; always True."""
        record.msg, record.args = self._redact(record.getMessage()), ()
        return True


def keep_our_frames(error: BaseException) -> TracebackType | None:
    """Remove the frames of others from an error and all that led to it; return the traceback that is left."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        one.__traceback__ = _ours(one.__traceback__)
    return error.__traceback__


def _ours(trace: TracebackType | None) -> TracebackType | None:
    kept = []
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(_OURS) and name not in _BETWEEN:
            kept.append(trace)
        trace = trace.tb_next
    made: TracebackType | None = None
    for one in reversed(kept):
        made = TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made
