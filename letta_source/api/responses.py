"""The meaning of an answer.

A status means something only if Letta said it: reverse proxies, gateways and firewalls answer 404 while
something is replaced, 403 with a challenge, 200 with an error. Letta's own errors are JSON with a `detail`;
that of gateways has a `message` or an `error`, or is a problem of RFC 9457, which has a `detail` too.
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
    is_lettas,
    is_login,
)
from letta_source.api.redact import Redactor, redactor_of
from letta_source.errors import AuthError, QuotaExceeded
from letta_source.safe_text import parse_json

_DETAIL_CHARS = 300

Shape = Literal["list", "object"]


class Verdict(Enum):
    """The meaning of an error for the request that got it."""

    GONE = "what the path or its cursor names does not exist"
    NO_ROUTE = "this server has no such endpoint"
    REFUSED = "the key may not read this"
    QUOTA = "a quota is used up, which waiting does not cure"
    PAGE_LIMIT = "the limit is larger than the server takes"
    ERROR = "Letta refuses this request, and would again"
    PASSING = "trouble of the server, or on the way to it: another try may go better"


class RequestFailed(Exception):
    """A request that got no usable answer, also after the last try; another one may."""


class StatusError(RequestFailed):
    """The server, or something in front of it, answered with an error.

    Attributes:
        status: of HTTP.
        detail: what was said, cut to 300 characters.
        verdict: what it means.
        from_letta: it has the form of Letta's own errors.
        retry_after: seconds that are to be waited, more than 0, or None.
        page_limit: the largest limit that the server takes, where it says so.
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
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.verdict = verdict
        self.from_letta = from_letta
        self.retry_after = retry_after
        self.page_limit = page_limit


class BadBody(RequestFailed):
    """The body is no JSON, or was cut short."""


class WrongShape(RequestFailed):
    """JSON, but not what was asked for: some gateways send their errors with status 200."""


class WebPage(RequestFailed):
    """A page for people, with status 200: of a proxy while the server is away, or of another server."""


class TooLarge(RequestFailed):
    """The body, or what it holds once it is parsed, is larger than the memory allows.

    Attributes:
        most: bytes that are allowed.
        length: bytes that there are, where that is known.
    """

    def __init__(self, most: int, length: int | None = None) -> None:
        super().__init__(f"larger than {most / 1e6:,.0f} MB, a part of memory_limit")
        self.most = most
        self.length = length


# As the server's errors begin: what it names, perhaps with its id, and nothing else. Gateways have jobs,
# steps and runs of their own, and miss an upstream for one.
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
"""FastAPI's own errors, by status: no route has this path, or none with this method."""
_QUOTA = re.compile(r"(?!rate)[\w-]*(quota|credits|limit-exceeded|usage-exceeded)")
# As pydantic puts it, and as others do: "limit … less than or equal to 100", "limit must be at most 100".
_LIMIT = re.compile(
    r"\b(?:limit|page_size)\b.{0,200}?(?:less than|at most|max|between|exceeds?|too (?:large|high|big))"
    r"(?:\D{0,40}(?:\d+ and )?(?P<bound>\d+))?",
    re.IGNORECASE | re.DOTALL,
)
# What only servers and gateways in trouble say, whoever they are.
_PASSING_STATUSES = {408, 425, 429}
# A page may be too much for the server, or hold a message that it cannot render.
_PAGE_STATUSES = {400, 408, 413, 500, 502, 504, 520, 524}


def to_error(
    response: httpx.Response, body: bytes, has_route: bool = True, wait: float | None = None
) -> RequestFailed:
    """Return what to raise for an answer with an error status.

    Args:
        has_route: a server that has no such endpoint is in trouble; false where it may lack it.
        wait: seconds, from Retry-After.

    Raises:
        QuotaExceeded: no later request would be answered either.
    """
    redact = redactor_of(response.request)
    try:
        said = parsed(body)
    except BadBody:
        said = None
    status = response.status_code
    verdict = judge(status, said, response.url.host)
    if verdict is Verdict.NO_ROUTE and has_route:
        verdict = Verdict.PASSING
    is_json = isinstance(said, (dict, list, str)) and not challenge_of(response, body)
    from_letta = is_json and is_lettas(said, status, response.url.host)
    if not is_json and verdict is not Verdict.PASSING:
        verdict = Verdict.PASSING
    detail = _detail(said, redact) if is_json else describe_foreign(response, body, redact)
    if is_json and not from_letta and status in (401, 403):
        detail = f"{detail}: {NOT_LETTAS}: {GATEWAY_REFUSES}"
    if verdict is Verdict.QUOTA:
        raise QuotaExceeded(f"{response.url.host} gives no more: {detail}")
    bound = _LIMIT.search(str(said)) if verdict is Verdict.PAGE_LIMIT else None
    page_limit = int(bound["bound"][:9]) if bound and bound["bound"] else None
    return StatusError(status, detail, verdict, from_letta, wait, page_limit)


def judge(status: int, said: Any, host: str = "") -> Verdict:
    """Return what an error means.

    Args:
        said: the JSON that came with it, None for what is none.
        host: that it came from.
    """
    is_own = is_lettas(said, status, host)
    detail = said.get("detail") if is_own else None
    if status in (402, 429) and isinstance(said, dict) and _is_quota(status, said.get("reasons")):
        return Verdict.QUOTA
    if status in _PASSING_STATUSES or (status >= 500 and status != 501) or said is None:
        return Verdict.PASSING
    if status in (400, 404) and isinstance(detail, str) and _GONE.match(detail):
        return Verdict.GONE
    if status in _NO_ROUTE:
        return Verdict.NO_ROUTE if detail == _NO_ROUTE[status] else Verdict.PASSING
    if status in (401, 403):
        return Verdict.REFUSED if is_own else Verdict.PASSING
    if status in (400, 422) and _LIMIT.search(str(said)):
        return Verdict.PAGE_LIMIT
    # Gateways speak JSON too: `{"message": "no Route matched"}`.
    return Verdict.ERROR if detail is not None else Verdict.PASSING


def _is_quota(status: int, reasons: Any) -> bool:
    named = [reason for reason in reasons if isinstance(reason, str)] if isinstance(reasons, list) else []
    return bool(named) and (status == 402 or any(_QUOTA.match(reason) for reason in named))


def may_be_the_page(error: BaseException) -> bool:
    """Tell whether a smaller page may work: not where the server is away or wants us to wait."""
    if isinstance(error, StatusError):
        if error.verdict is Verdict.PAGE_LIMIT:
            return True
        return error.status in _PAGE_STATUSES and (error.from_letta or error.status != 400)
    return not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, WebPage, WrongShape))


def is_gone(error: RequestFailed) -> bool:
    """Tell whether Letta itself said that what was asked for does not exist."""
    return isinstance(error, StatusError) and error.verdict is Verdict.GONE


def is_missing(error: RequestFailed) -> bool:
    """Tell whether Letta itself said, twice, that it has no such endpoint."""
    return isinstance(error, StatusError) and error.verdict is Verdict.NO_ROUTE


def refused(host: str, error: StatusError) -> AuthError:
    """Return what to do about 401 and 403 where nothing has been read yet."""
    if not error.from_letta:
        return AuthError(f"{host} cannot be read: {error}")
    return AuthError(
        f"{host} refuses the key ({error.status}): set LETTA_API_KEY to a key that may read."
        f" It says: {error.detail}"
    )


def checked(response: httpx.Response, body: bytes, shape: Shape | None) -> Any:
    """Return the JSON of an answer with a good status.

    Raises:
        WebPage: it is one.
        BadBody: it is no JSON.
        WrongShape: it has another shape.
    """
    if may_be_page(response):
        raise web_page(response, body)
    found = parsed(body)
    if shape and not _has_shape(found, shape, response.url.path):
        kind, said = type(found).__name__, _detail(found, redactor_of(response.request))
        # No frame of the error shows it: it may tell what was sent.
        del found
        raise WrongShape(f"not the {shape} that was asked for, but {kind}: {said}")
    return found


def may_be_page(response: httpx.Response) -> bool:
    """Tell by the header fields whether an answer is a page for people."""
    return "html" in response.headers.get("content-type", "") or bool(challenge_of(response, b""))


def web_page(response: httpx.Response, body: bytes) -> WebPage:
    """Return what to raise for an answer that is a page for people.

    Args:
        body: the start of it is enough.
    """
    what = challenge_of(response, body) or ("a login page" if is_login(body) else "a web page")
    return WebPage(
        f"{response.url.host} answers with {what}, not with Letta's API: set the base URL to the API's,"
        " such as https://api.letta.com or http://localhost:8283, or give the headers that a gateway in"
        " front of it asks for as `headers`."
    )


def _has_shape(found: Any, shape: Shape, path: str) -> bool:
    """Null is an empty list; an object has the id that it was asked for by: a gateway's error has another."""
    if shape == "object":
        # A step's metrics have the step's id: `/v1/steps/{id}/metrics`.
        return isinstance(found, dict) and found.get("id") in path.rstrip("/").split("/")[-2:]
    return found is None or not isinstance(found, (dict, str, int, float))


def parsed(body: bytes) -> Any:
    """Return `body` as JSON.

    Raises:
        BadBody: it is none.
    """
    try:
        return parse_json(body)
    except ValueError as error:
        why = str(error)
    # Not within `except`: the parser's error and its frames hold the body, which may tell what was sent.
    raise BadBody(why)


def _detail(body: Any, redact: Redactor) -> str:
    # In one line: it goes into the log.
    detail = " ".join(str(body.get("detail", body) if isinstance(body, dict) else body).split())
    # Some proxies tell what they were sent.
    return redact(detail[:_DETAIL_CHARS])
