"""What lies beneath a connection that failed, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

_SPEAKS_HTTP = "it speaks plain http on this port: set the base URL to http://…, or to the port of https"
_SPEAKS_HTTPS = "it speaks https on this port: set the base URL to https://…"
# OpenSSL's reasons where the first bytes are no TLS.
_PLAIN_HTTP = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
# What servers of TLS say to plain http: a TLS alert, Go's and nginx's texts.
_HTTPS_MARKS = (
    r"\x15\x03",
    "HTTP request to an HTTPS server",
    "plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
)


def describe_cause(error: BaseException, host: str) -> str:
    """Return why no connection came about, and what to do; names no URL, which may hold a password."""
    if isinstance(error, httpx.ProxyError):
        if "407" in str(error):
            return "the proxy asks for a user and password: give them as http://USER:PASSWORD@HOST:PORT"
        return "the proxy refuses: ask for access to this host, or set NO_PROXY or `proxy` to none"
    for cause in _causes(error):
        if said := _describe(cause, host):
            return said
    if isinstance(error, (httpx.ConnectTimeout, TimeoutError)):
        return "no answer to the attempt to connect: does a firewall drop it, is the host right?"
    return "is the URL right, is the server up?"


def is_lasting(error: BaseException) -> bool:
    """Tell whether every further try would end as this one: a certificate, http instead of https."""
    if isinstance(error, httpx.ProxyError):
        return "407" in str(error)
    return any(isinstance(cause, ssl.SSLError) and _is_lasting(cause) for cause in _causes(error))


def _is_lasting(error: ssl.SSLError) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError) or error.reason in _PLAIN_HTTP


def speaks_https(text: str) -> bool:
    """Tell whether an answer to plain http is that of a server of TLS."""
    return any(mark in text for mark in _HTTPS_MARKS)


def describe_broken_answer(error: httpx.RequestError) -> str:
    """Return what is wrong with an answer that is no HTTP; the empty text where nothing is known."""
    return _SPEAKS_HTTPS if speaks_https(str(error)) else ""


def _describe(cause: BaseException, host: str) -> str:
    if isinstance(cause, socket.gaierror):
        return f"the name {host} is not known to DNS: is the URL right?"
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message or "it does not match"
        return (
            f"its certificate is not trusted ({why}): name the certificate authority's file as ca_bundle or"
            " SSL_CERT_FILE"
        )
    if isinstance(cause, ssl.SSLError):
        reason = str(cause.reason or "")
        if reason in _PLAIN_HTTP:
            return _SPEAKS_HTTP
        if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason:
            return f"it refuses the TLS handshake ({reason}): does it ask for a certificate, client_cert?"
        return f"TLS failed ({reason or type(cause).__name__})"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused: is the port right, is the server up?"
    if isinstance(cause, ConnectionResetError):
        return "the connection was reset: is the port right, does a firewall close it?"
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, TimeoutError):
        return f"{cause.strerror or type(cause).__name__}: is the network up?"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it, the members of groups too."""
    waiting, seen = [error], set()
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [*getattr(error, "exceptions", ()), error.__cause__, error.__context__]
