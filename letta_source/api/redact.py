"""Takes a secret out of what others wrote: a server or a proxy may tell what it was sent."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote

_PIECE = 8
"""Characters: what was cut within the secret still shows a part of it."""
_MASK = "\x00"


def redacted(text: str, secret: str) -> str:
    """`text` with *** for the secret and each piece of it: as it is, quoted for a URL or JSON, in base64."""
    if not secret:
        return text
    size = min(_PIECE, len(secret))
    forms = [secret, *_other_forms(secret)] if size == _PIECE else [secret]
    pieces = {form[at : at + size] for form in forms for at in range(len(form) - size + 1)}
    shown = list(text)
    for at in range(len(text) - size + 1):
        if text[at : at + size] in pieces:
            shown[at : at + size] = _MASK * size
    return re.sub(f"{_MASK}+", "***", "".join(shown))


def _other_forms(secret: str) -> Iterator[str]:
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    for encode in (b64encode, urlsafe_b64encode):
        # It is told with something before it, and three bytes make four characters.
        for before in range(3):
            encoded = encode(b"\x00" * before + secret.encode()).decode().rstrip("=")
            yield encoded[before and before + 1 : -1]


def redact_error(error: BaseException | None, secret: str) -> None:
    """Takes the secret out of the texts of an error, and of those that led to it."""
    seen: set[int] = set()
    # Contexts may go in a circle.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(redacted(arg, secret) if isinstance(arg, str) else arg for arg in error.args)
        error = error.__cause__ or error.__context__


class RedactingFilter(logging.Filter):
    """Lets every record through, without the secret."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage(), self._secret), ()
        return True
