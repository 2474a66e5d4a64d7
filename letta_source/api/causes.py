"""The cause of a failed connection, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

_SPEAKS_HTTP = "it speaks plain http on this port: set the base URL to http://…, or to the port of https"
_SPEAKS_HTTPS = "it speaks https on this port: set the base URL to https://…"
# OpenSSL's reasons if the first bytes are not TLS.
_PLAIN_HTTP = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
_PROXY_SPEAKS_HTTP = "the proxy speaks plain http: write its URL as http://…"
# OpenSSL's codes for a certificate of another host, email or address; and for one not valid now.
_NAME_MISMATCHES = {62, 63, 64}
_OUT_OF_DATE = {9, 10}
_OLD_TLS = {"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION"}
# Errors on which anyio waits; they appear in the context of a timeout.
_WAITING = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
# Alerts that a server would repeat at each retry.
_LASTING_MARKS = ("PROTOCOL_VERSION", "CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA", *_OLD_TLS)
# Responses of TLS servers to plain http: a TLS alert, the texts of Go and nginx.
_HTTPS_MARKS = (
    r"\x15\x03",
    "HTTP request to an HTTPS server",
    "plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
)


@dataclass(frozen=True)
class Route:
    """The route to the server.

    Attributes:
        host: the server's name or address.
        is_tls: the server's URL is https.
        proxy: host and port of the proxy, without user and password; empty for none.
        proxy_is_tls: the proxy's URL is https.
    """

    host: str
    is_tls: bool = False
    proxy: str = ""
    proxy_is_tls: bool = False

    @property
    def peer(self) -> str:
        """The name of the peer that the connection is made to."""
        return f"the proxy {self.proxy}" if self.proxy else self.host


def describe_cause(error: BaseException, route: Route) -> str:
    """Return why the connection failed, and what to do; without any URL, which may hold a password."""
    if isinstance(error, httpx.ProxyError):
        return _describe_refusal(str(error), route)
    for cause in _causes(error):
        if described := _describe(cause, route):
            return described
    if isinstance(error, (httpx.ConnectTimeout, TimeoutError)):
        return f"no response to the attempt to connect to {route.peer}: does a firewall drop it?"
    return "is the URL right, is the server up?"


def _describe_refusal(answer: str, route: Route) -> str:
    """Return the meaning of a proxy's response to CONNECT, which begins with the status."""
    status = answer[:3] if answer[:3].isdecimal() else ""
    if status == "407":
        return "the proxy asks for a user and password: give them as http://USER:PASSWORD@HOST:PORT"
    if status.startswith("5"):
        return f"the proxy cannot reach {route.host} ({status}): is the URL right, is the server up?"
    refuses = f"the proxy refuses ({status})" if status else "the proxy refuses"
    return f"{refuses}: ask for access to this host, or set NO_PROXY or `proxy` to none"


def is_lasting(error: BaseException) -> bool:
    """Return True if every retry would fail alike: a bad certificate, http instead of https."""
    if isinstance(error, httpx.ProxyError):
        return "407" in str(error)
    return any(isinstance(cause, ssl.SSLError) and _is_lasting(cause) for cause in _causes(error))


def _is_lasting(error: ssl.SSLError) -> bool:
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    reason = error.reason or ""
    return reason in _PLAIN_HTTP or any(mark in reason for mark in _LASTING_MARKS)


def speaks_https(text: str) -> bool:
    """Return True if a response to plain http comes from a TLS server."""
    return any(mark in text for mark in _HTTPS_MARKS)


def describe_broken_response(error: httpx.RequestError, route: Route) -> str:
    """Return why a first response broke off, did not come, or is not HTTP; empty if unknown."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and (described := _describe(cause, route)):
            return described
    if isinstance(error, httpx.RemoteProtocolError):
        if speaks_https(str(error)):
            return _SPEAKS_HTTPS
        if "illegal" in str(error):
            return f"{route.peer}'s response is not HTTP: is the port right?"
    if isinstance(error, httpx.TimeoutException):
        return f"no response from {route.peer} in time: see the setting `timeout`"
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        # Some TLS servers, and some proxies, hang up on plain http without a response.
        is_plain = not (route.proxy_is_tls if route.proxy else route.is_tls)
        hint = ": is the port right, or does it speak https there?" if is_plain else ": is the port right?"
        return f"{route.peer} closed the connection{hint}"
    return ""


def _describe(cause: BaseException, route: Route) -> str:
    if isinstance(cause, socket.gaierror):
        name = route.proxy.rpartition(":")[0] if route.proxy else route.host
        what = "the proxy's URL" if route.proxy else "the URL"
        return f"the name {name} is not known to DNS: is {what} right?"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _describe_certificate(cause, route)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, _WAITING):
        return _describe_tls(str(cause.reason or ""), cause, route)
    by = f" by {route.peer}" if route.proxy else ""
    if isinstance(cause, ConnectionRefusedError):
        up = "proxy" if route.proxy else "server"
        return f"the connection was refused{by}: is the port right, is the {up} up?"
    if isinstance(cause, ConnectionResetError):
        return f"the connection was reset{by}: is the port right, does a firewall close it?"
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, (TimeoutError, ssl.SSLError)):
        return f"{cause.strerror or type(cause).__name__}: is the network up?"
    return ""


def _describe_certificate(error: ssl.SSLCertVerificationError, route: Route) -> str:
    why = (error.verify_message or "it does not match").rstrip(".")
    whose = "its certificate or the proxy's" if route.proxy_is_tls and route.is_tls else "its certificate"
    if route.proxy_is_tls and not route.is_tls:
        whose = "the proxy's certificate"
    if error.verify_code in _NAME_MISMATCHES:
        return f"{whose} is for another name ({why}): use that name as the host in the URL"
    if error.verify_code in _OUT_OF_DATE:
        return f"{whose} is out of date ({why}): have it renewed, or set this machine's clock right"
    between = "; a proxy that inspects TLS has its own" if route.proxy else ""
    return (
        f"{whose} is not trusted ({why}): name the certificate authority's file as ca_bundle or"
        f" SSL_CERT_FILE{between}"
    )


def _describe_tls(reason: str, error: ssl.SSLError, route: Route) -> str:
    if reason in _PLAIN_HTTP:
        # The handshake with the proxy comes first.
        return _PROXY_SPEAKS_HTTP if route.proxy_is_tls else _SPEAKS_HTTP
    if ("PROTOCOL" in reason and "ALERT" in reason) or reason in _OLD_TLS:
        return f"client and server share no TLS version ({reason}): TLS 1.2 or newer is required"
    if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason or "UNKNOWN_CA" in reason:
        return f"it refuses the TLS handshake ({reason}): does it require a client certificate (client_cert)?"
    if isinstance(error, ssl.SSLEOFError) or "EOF" in reason:
        return (
            "it closed the connection during the TLS handshake: is the port right, does a firewall close it?"
        )
    return f"TLS failed ({reason or type(error).__name__})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that led to it, including the members of groups."""
    waiting, seen = [error], set()
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [*getattr(error, "exceptions", ()), error.__cause__, error.__context__]
