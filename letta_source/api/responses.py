"""What a server answered: JSON, or why it is of no use."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import httpx

from letta_source.api.redact import redacted
from letta_source.errors import AuthError
from letta_source.safe_text import parse_json

REFUSED = {401, 403}
_DETAIL_CHARS = 300


class RequestFailed(Exception):
    """A request that got no usable answer, also after the last try; another one may."""


class StatusError(RequestFailed):
    """The server answered with an error that is not fatal.

    Attributes:
        status: of HTTP.
        detail: what the server said, cut to 300 characters.
        retry_after: seconds the server asks to wait, or None.
    """

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class BadBody(RequestFailed):
    """The body is no JSON, or was cut short."""


class WebPage(RequestFailed):
    """A page for people, with status 200: of a proxy while the server is away, or of another server."""


def decoded(response: httpx.Response) -> Any:
    """The body.

    Raises:
        RequestFailed: it is of no use; a `StatusError` where the server said why.
        AuthError: the key is refused.
    """
    if response.status_code < 400:
        if "html" in response.headers.get("content-type", ""):
            raise WebPage(
                f"{response.url.host} answers with a web page, not with Letta's API: set the base URL to the"
                " API's, such as https://api.letta.com or http://localhost:8283."
            )
        return parsed(response.content)
    asked = retry_after(response.headers.get("retry-after"))
    key = key_of(response.request)
    try:
        detail = _detail(parsed(response.content), key)
    except BadBody:
        raise StatusError(response.status_code, redacted(response.reason_phrase, key), asked) from None
    error = StatusError(response.status_code, detail, asked)
    raise refused(response.url.host, error) if error.status in REFUSED else error


def refused(host: str, error: StatusError) -> AuthError:
    """What to do about a key that the server does not take."""
    return AuthError(
        f"{host} refuses the key ({error.status}): set LETTA_API_KEY to a key that may read."
        f" It says: {error.detail}"
    )


def parsed(body: bytes) -> Any:
    """`body` as JSON.

    Raises:
        BadBody: if it is none.
    """
    try:
        return parse_json(body)
    except ValueError as error:
        raise BadBody(str(error)) from error


def _detail(body: Any, key: str) -> str:
    # In one line: it goes into the log.
    detail = " ".join(str(body.get("detail", body) if isinstance(body, dict) else body).split())
    # Some proxies tell what they were sent.
    return redacted(detail[:_DETAIL_CHARS], key)


def key_of(request: httpx.Request) -> str:
    """The key that it was sent with."""
    return str(request.headers.get("authorization", "")).removeprefix("Bearer ")


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as a date; None where it is neither."""
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    now = now or datetime.now(timezone.utc)
    return max(0.0, (then - now).total_seconds())
