"""Redirects, followed only to the same host and port, so that the key goes nowhere else."""

from __future__ import annotations

import httpx

from letta_source.api.gateways import LOGIN_URL
from letta_source.api.redact import redactor_of
from letta_source.api.responses import StatusError
from letta_source.errors import AuthError, FatalError, NotLetta

REDIRECTS = {301, 302, 303, 307, 308}
CIRCLE = (
    "redirects in a circle: is the URL right? A proxy that terminates TLS must tell the server so"
    " (X-Forwarded-Proto)"
)
_KEEP_METHOD = {307, 308}
_PORTS = {"http": 80, "https": 443}


def next_hop(
    request: httpx.Request, response: httpx.Response, base_url: str, was_read: bool
) -> httpx.Request:
    """Return the request that follows a redirect.

    Args:
        was_read: something was read before.

    Raises:
        FatalError: it leads to a login or elsewhere, and nothing has been read yet.
        StatusError: the same, later: a gateway's session ended, or something on this path is replaced.
    """
    try:
        return redirected(request, response, base_url)
    except FatalError as error:
        if not was_read:
            raise
        raise StatusError(response.status_code, str(error), from_letta=False) from error


def redirected(request: httpx.Request, response: httpx.Response, base_url: str) -> httpx.Request:
    """Return the request that follows a redirect: the server sends 307 for a missing or extra slash.

    A server behind a proxy that terminates TLS redirects to http:// on the same host: https is kept.

    Raises:
        AuthError: it leads to a login.
        NotLetta: it leads to another host, port or path, or would change a request that sends data.
        InvalidURL: its target is not an http URL.
    """
    here = request.url
    there = here.join(response.headers["location"])
    if there.scheme not in ("http", "https"):
        raise httpx.InvalidURL("redirects to a URL that is not http or https")
    is_same_host = here.host == there.host
    # The host may echo the request.
    host = redactor_of(request)(there.host)
    if _is_login(here, there, is_same_host):
        raise AuthError(
            f"{base_url} redirects to a login at {host}: a gateway in front requires one. Give the"
            " headers that it accepts instead as `headers`, or let this program through."
        )
    if is_same_host and here.scheme == "https" and there.scheme == "http":
        port = here.port if there.port in (None, here.port) else there.port
        there = there.copy_with(scheme="https", port=port)
    is_upgrade = (here.scheme, there.scheme) == ("http", "https")
    if not is_same_host or not (is_upgrade or _origin(here) == _origin(there)):
        raise NotLetta(f"{base_url} redirects to {host}: set the base URL to where Letta answers.")
    if _api_path(here) != _api_path(there):
        raise NotLetta(
            f"{base_url} redirects {here.path} to another path: set the base URL to where Letta answers."
        )
    if here.query and not there.query:
        # Some proxies that add a slash drop the query: nginx with `return 301 $uri/`.
        there = there.copy_with(query=here.query)
    if request.method != "GET" and response.status_code not in _KEEP_METHOD:
        raise NotLetta(f"{base_url} redirects a POST request: set the base URL to where Letta answers.")
    return type(request)(
        request.method,
        there,
        headers=_headers(request),
        content=request.content,
        extensions=request.extensions,
    )


def _is_login(here: httpx.URL, there: httpx.URL, is_same_host: bool) -> bool:
    if is_same_host:
        return bool(LOGIN_URL.search(there.path.lower())) and not LOGIN_URL.search(here.path.lower())
    return bool(LOGIN_URL.search(f"{there.host}{there.path}".lower()))


def _api_path(url: httpx.URL) -> str:
    """Return the path below /v1/: another one's items would be stored as those that were asked for."""
    return url.path.rpartition("/v1/")[2].rstrip("/")


def _origin(url: httpx.URL) -> tuple[str, int | None]:
    return url.scheme, url.port or _PORTS.get(url.scheme)


def _headers(request: httpx.Request) -> httpx.Headers:
    headers = httpx.Headers(request.headers)
    # The header names the port, which may have changed.
    headers.pop("host", None)
    return headers
