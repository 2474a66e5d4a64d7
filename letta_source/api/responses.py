"""The meaning of an error response.

A status is meaningful only if Letta sent it: reverse proxies, gateways and firewalls return 404 during a
deployment, 403 with a challenge, 200 with an error. Letta's own errors are JSON with a `detail`; those of
gateways have a `message` or an `error`, or are RFC 9457 problems, which have a `detail` too.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Literal

import httpx

from letta_source.api.gateways import (
    GATEWAY_REFUSES,
    NOT_LETTAS,
    challenge_of,
    describe_foreign,
    is_from_letta,
)
from letta_source.api.redact import Redactor, redactor_of
from letta_source.errors import AuthError, QuotaExceeded
from letta_source.safe_text import parse_json

_DETAIL_CHARS = 300

Shape = Literal["list", "object"]


class Verdict(Enum):
    """The meaning of an error for the request that got it."""

    GONE = "the object that the path or its cursor names does not exist"
    NO_ROUTE = "this server has no such endpoint"
    REFUSED = "the key may not read this"
    QUOTA = "a quota is used up, and waiting does not help"
    PAGE_LIMIT = "the limit is larger than the server takes"
    ERROR = "Letta refuses this request, and a retry would not help"
    PASSING = "a transient failure of the server or the network: a retry may succeed"


class RequestFailed(Exception):
    """A request got no usable response, even at the last try; other requests may."""


class StatusError(RequestFailed):
    """The server, or something in front of it, returned an error.

    Attributes:
        status: the HTTP status.
        detail: the error's text, cut to 300 characters.
        verdict: its meaning.
        from_letta: it has the form of Letta's own errors.
        retry_after: seconds to wait, more than 0, or None.
        page_limit: the largest limit that the server accepts, if it says so.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        verdict: Verdict = Verdict.PASSING,
        from_letta: bool = True,
        retry_after: float | None = None,
        page_limit: int | None = None,
    ) -> None:
        why = f"{verdict.value}: " if verdict is Verdict.REFUSED else ""
        super().__init__(f"{status}: {why}{detail}")
        self.status = status
        self.detail = detail
        self.verdict = verdict
        self.from_letta = from_letta
        self.retry_after = retry_after
        self.page_limit = page_limit


def unquoted(error: BaseException | None) -> str:
    """Return a failure without the server's words for the log: they may quote what masks hide."""
    return str(error.status) if isinstance(error, StatusError) else type(error).__name__


class BadBody(RequestFailed):
    """The body is not JSON, or was cut short."""


class WrongShape(RequestFailed):
    """JSON, but not of the expected shape: some gateways send their errors with status 200."""


class WebPage(RequestFailed):
    """A web page with status 200, from a proxy while the server is down, or from another server."""


class TooLarge(RequestFailed):
    """The body, or its parsed value, is larger than the memory allows.

    Attributes:
        most: bytes allowed.
        length: bytes of the body, if known.
    """

    def __init__(self, most: int, length: int | None = None) -> None:
        super().__init__(f"larger than {most / 1e6:,.0f} MB, a part of memory_limit")
        self.most = most
        self.length = length


# The beginning of the server's errors: the kind of object, perhaps its id, and nothing else. Gateways have
# jobs, steps and runs of their own, and report that an upstream for one was not found.
_NAMES = (
    "(?:agent|group|run|job|batch|step|stepmetrics|conversation|message|block|tool|identity|archive|passage)"
)
_ID = r"[\[('\"]*[a-z]+-[\w-]+[\])'\"]*"
_GONE = re.compile(
    rf"{_NAMES}(?: (?:with )?(?:id ?=? ?)?{_ID})? (?:was )?not found\b(?! (?:in|on|by|at)\b)"
    rf"|no {_NAMES} found(?:$|[.:]| (?:with|for) (?:id ?=? ?)?{_ID})",
    re.IGNORECASE,
)
_NO_ROUTE = {404: "Not Found", 405: "Method Not Allowed"}
"""FastAPI's own errors, by status: no route has this path, or none has this method."""
_QUOTA = re.compile(r"(?!rate)[\w-]*(quota|credits|limit-exceeded|usage-exceeded)")
# In pydantic's words or others': "limit … less than or equal to 100", "limit must be at most 100".
_LIMIT = re.compile(
    r"\b(?:limit|page_size)\b.{0,200}?(?:less than|at most|max|between|exceeds?|too (?:large|high|big))"
    r"(?:\D{0,40}(?:\d+ and )?(?P<bound>\d+))?",
    re.IGNORECASE | re.DOTALL,
)
SUCCESSES = {200, 203}
"""Statuses of a complete response. Letta sends 200, and some proxies that rewrite responses send 203, also
with `[]`: a list ends with an empty page, behind such a proxy as well. Of the other 2xx, 202 and 204 come
without a list, and 206 with a part of one, which may be `[]`."""
# Transient failures, whether of the server or of a gateway.
PASSING_STATUSES = {408, 425, 429}
# A page may be too large for the server, or hold an unreadable message. 524 is Cloudflare's 504.
PAGE_STATUSES = {400, 408, 413, 500, 502, 504, 520, 524}


def to_error(
    response: httpx.Response, body: bytes, has_route: bool = True, wait: float | None = None
) -> RequestFailed:
    """Return the error to raise for a response with an error status.

    Args:
        has_route: a missing endpoint is a transient failure; false if the server may lack it.
        wait: seconds, from Retry-After.

    Raises:
        QuotaExceeded: no later request would be answered either.
    """
    redact = redactor_of(response.request)
    try:
        sent = parse_json(body)
    except ValueError:
        sent = None
    status = response.status_code
    verdict = judge(status, sent, response.url.host)
    if verdict is Verdict.NO_ROUTE and has_route:
        verdict = Verdict.PASSING
    is_json = isinstance(sent, (dict, list, str)) and not challenge_of(response, body)
    from_letta = is_json and is_from_letta(sent, status, response.url.host)
    if not is_json:
        verdict = Verdict.PASSING
    detail = detail_of(sent, redact) if is_json else describe_foreign(response, body, redact)
    if is_json and not from_letta and status in (401, 403):
        detail = f"{detail}: {NOT_LETTAS}: {GATEWAY_REFUSES}"
    if verdict is Verdict.QUOTA:
        raise QuotaExceeded(f"{response.url.host}: quota exceeded: {detail}")
    bound = _LIMIT.search(str(sent)) if verdict is Verdict.PAGE_LIMIT else None
    page_limit = int(bound["bound"][:9]) if bound and bound["bound"] else None
    return StatusError(status, detail, verdict, from_letta, wait, page_limit)


def judge(status: int, sent: Any, host: str = "") -> Verdict:
    """Return the verdict on a response with an error status.

    Args:
        sent: the JSON of its body, None if that is not JSON.
        host: the host that sent it.
    """
    is_own = is_from_letta(sent, status, host)
    detail = sent.get("detail") if is_own else None
    if status in (402, 429) and isinstance(sent, dict) and _is_quota(status, sent.get("reasons")):
        return Verdict.QUOTA
    if status < 400 or status in PASSING_STATUSES or (status >= 500 and status != 501):
        return Verdict.PASSING
    if status in (400, 404) and isinstance(detail, str) and _GONE.match(detail):
        return Verdict.GONE
    if status in _NO_ROUTE:
        return Verdict.NO_ROUTE if detail == _NO_ROUTE[status] else Verdict.PASSING
    if status in (401, 403):
        return Verdict.REFUSED if is_own else Verdict.PASSING
    if status in (400, 422) and _LIMIT.search(str(sent)):
        return Verdict.PAGE_LIMIT
    # Gateways send JSON too: `{"message": "no Route matched"}`.
    return Verdict.ERROR if detail is not None else Verdict.PASSING


def _is_quota(status: int, reasons: Any) -> bool:
    named = [reason for reason in reasons if isinstance(reason, str)] if isinstance(reasons, list) else []
    return bool(named) and (status == 402 or any(_QUOTA.match(reason) for reason in named))


def smaller_page_may_help(error: BaseException) -> bool:
    """Return True if a smaller page may work; not if the server is down or asks to wait."""
    if isinstance(error, StatusError):
        if error.verdict is Verdict.PAGE_LIMIT:
            return True
        return error.status in PAGE_STATUSES and (error.from_letta or error.status != 400)
    return not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, WebPage, WrongShape))


def is_gone(error: RequestFailed) -> bool:
    """Return True if Letta itself answers that the requested object does not exist."""
    return isinstance(error, StatusError) and error.verdict is Verdict.GONE


def is_missing(error: RequestFailed) -> bool:
    """Return True if Letta itself answers that it has no such endpoint; `Client.get` asks twice."""
    return isinstance(error, StatusError) and error.verdict is Verdict.NO_ROUTE


def refused(host: str, error: StatusError) -> AuthError:
    """Return the error for a 401, 403 or 407 before anything was read; it says what to do."""
    if not error.from_letta:
        return AuthError(f"{host} cannot be read: {error}")
    return AuthError(
        f"{host} refuses the key ({error.status}): set LETTA_API_KEY to a key that may read."
        f" It says: {error.detail}"
    )


def _without_items(body: Any) -> Any:
    """Return a body without what was asked for: messages are no error, and a mask may hide their text."""
    if isinstance(body, list):
        if any(isinstance(one, dict) and "id" in one for one in body):
            return f"a list of {len(body)}"
        return [_without_items(one) for one in body]
    if isinstance(body, dict):
        if "message_type" in body:
            return "a message"
        return {name: _without_items(value) for name, value in body.items()}
    return body


def detail_of(body: Any, redact: Redactor) -> str:
    """Return the error in a JSON body as text for the log: its beginning, on one line."""
    error = body.get("detail", body) if isinstance(body, dict) else body
    detail = " ".join(str(_without_items(error)).split())
    # Some proxies echo the request.
    return redact(detail[:_DETAIL_CHARS])
