"""Responses from something in front of Letta: gateways, proxies, challenges and logins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

from letta_source.api.causes import speaks_https
from letta_source.api.redact import Redactor

_SERVER_CHARS = 40
# Members of an RFC 9457 problem besides its detail: such an error is a gateway's.
_PROBLEM = {"title", "status", "instance"}
_CLOUD = ".letta.com"
NOT_LETTAS = "not Letta's own response"
GATEWAY_REFUSES = "a gateway or proxy in front refuses: give the headers that it requires as `headers`"
CHALLENGES = {
    "cf-mitigated": "a challenge of Cloudflare for browsers",
    "x-amzn-waf-action": "a challenge of AWS WAF for browsers",
}
"""Challenges that let only browsers through, by the header field that tells of each."""
_CHALLENGE = re.compile(
    r"challenge-platform|cf-chl|just a moment|captcha|attention required|_Incapsula_", re.IGNORECASE
)
_LOGIN = re.compile(r"<input[^>]+password|\b(log|sign) ?[io]n\b|single sign", re.IGNORECASE)
LOGIN_URL = re.compile(
    r"log-?in|sign-?in|\bsso\b|saml|oauth|openid|cdn-cgi/access|/auth\b|\bauth\.|accounts?\."
)


def is_from_letta(sent: Any, status: int, host: str) -> bool:
    """Return True if an error has the form of Letta's own; the form of Letta Cloud's 401 is unknown."""
    if not isinstance(sent, dict):
        return False
    if "detail" in sent:
        return _PROBLEM.isdisjoint(sent)
    return status == 401 and host.endswith(_CLOUD)


def is_login(body: bytes) -> bool:
    """Return True if a web page asks for a login."""
    return bool(_LOGIN.search(body.decode("latin-1")))


def describe_foreign(response: httpx.Response, body: bytes, redact: Redactor) -> str:
    """Return who answered instead of Letta, and what to do."""
    reason = redact(response.reason_phrase)
    status = response.status_code
    if status == 407:
        return f"{reason}: the proxy asks for a user and password: http://USER:PASSWORD@HOST:PORT"
    if speaks_https(body[:1000].decode("latin-1")):
        return f"{reason}: it speaks https on this port: set the base URL to https://…"
    if challenge := challenge_of(response, body):
        return f"{reason}: {challenge}: let this program through, or give the headers it accepts as `headers`"
    server = redact(response.headers.get("server", ""))[:_SERVER_CHARS]
    who = f"{reason}: {NOT_LETTAS}" + (f", but that of {server}" if server else "")
    if status in (401, 403):
        return f"{who}: {GATEWAY_REFUSES}"
    return who


def challenge_of(response: httpx.Response, body: bytes) -> str:
    """Return the kind of challenge that lets only browsers through; empty if it is none."""
    headers: Mapping[str, str] = response.headers
    for name, challenge in CHALLENGES.items():
        if name in headers:
            return challenge
    if "html" in headers.get("content-type", "") and _CHALLENGE.search(body[:20_000].decode("latin-1")):
        return "a challenge for browsers"
    return ""
