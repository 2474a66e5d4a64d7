"""The key appears in no error and no log line, whatever the server answers, and is sent to no other host."""

from __future__ import annotations

import asyncio
import html
import json
import socket
import threading
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from letta_source.api.client import Client
from letta_source.api.redact import Redactor
from letta_source.api.responses import RequestFailed
from letta_source.demo import Letta, serve
from letta_source.errors import LettaError
from letta_source.loading.preflight import check_families
from letta_source.settings import Settings
from tests.support.canary import CANARY, KEY, every_line
from tests.support.faults import FAULTS, Faults
from tests.support.wire import no_waits, settings


@pytest.fixture(autouse=True)
def log() -> Iterator[list[str]]:
    with every_line() as lines:
        yield lines


@contextmanager
def answering(reply: Callable[[str], str]) -> Iterator[tuple[str, list[str]]]:
    """Serve responses computed from the head of the request, one per connection.

    Yields:
        Its URL, and the heads of the requests as they come.
    """
    heads: list[str] = []

    def serve_all() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                head = connection.recv(65536).decode()
                if not head:
                    return
                heads.append(head)
                connection.sendall(reply(head).encode())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve_all)
        thread.start()
        address = listening.getsockname()
        try:
            yield f"http://127.0.0.1:{address[1]}", heads
        finally:
            socket.create_connection(address).close()
            thread.join()


def http(status: str, body: Any = "", kind: str = "application/json", **headers: str) -> str:
    sent = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(sent.encode())}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", sent])


def _header(head: str) -> str:
    return next(line for line in head.splitlines() if line.lower().startswith("authorization"))


ECHOES: dict[str, Callable[[str], str]] = {
    **{
        status: lambda head, status=status: http(f"{status} X", {"detail": head})  # type: ignore[misc]
        for status in ("400", "401", "403", "404", "422", "500", "503")
    },
    "other json": lambda head: http("401 X", {"headers": head.splitlines()}),
    "json in json": lambda head: http("400 X", {"detail": json.dumps({"request": head})}),
    "cut by the server": lambda head: http("400 X", {"detail": head[: head.index(KEY) + 20]}),
    "cut by us": lambda head: http("400 X", {"detail": "x" * 270 + head[head.index(KEY) :]}),
    "url-quoted": lambda head: http("400 X", {"detail": quote(head, safe="")}),
    "base64": lambda head: http("400 X", {"detail": b64encode(_header(head).encode()).decode()}),
    "text": lambda head: http("401 X", head, "text/plain"),
    "page": lambda head: http("200 OK", head, "text/html"),
    "error page": lambda head: http("502 X", head, "text/html"),
    "no json": lambda head: http("200 OK", head),
    "json that is no list": lambda head: http("200 OK", {"told": head}),
    "reason": lambda head: http(f"404 {_header(head)}", "none"),
    "header": lambda head: http("404 X", {}, X_Told=_header(head)),
    "redirect to another host": lambda head: http("307 X", Location=f"http://{KEY}.test/?k={KEY}"),
    "redirect to another port": lambda head: http("307 X", Location=f"http://127.0.0.1:1/{KEY}"),
    "redirect in a circle": lambda head: http("307 X", Location=f"/{KEY}?k={quote(KEY)}"),
    "redirect to nowhere": lambda head: http("307 X", Location=f"http://127.0.0.1:{KEY}/"),
    "no http": lambda head: _header(head) + "\r\n\r\n",
    "no header": lambda head: f"HTTP/1.1 200 OK\r\n{_header(head).replace(':', '')}\r\n\r\n",
    "nothing": lambda head: "",
}


@pytest.mark.parametrize("echo", ECHOES)
def test_a_server_that_echoes_the_request(echo: str, log: list[str]) -> None:
    told: list[str] = []
    with answering(ECHOES[echo]) as (url, heads):
        for ask in (_get, check_families):
            try:
                told.append(str(ask(settings(url, api_key=KEY, retries=0))))
            except (LettaError, RequestFailed) as error:
                told += [*traceback.format_exception(error), repr(error)]
    assert heads
    assert all(f"Bearer {KEY}" in head for head in heads)
    assert "receive_response_headers" in "".join(log)
    # The content of a successful response is data, not a message.
    told = [text for text in told if echo != "json that is no list" or "Traceback" in text]
    assert [line for line in [*told, *log] if CANARY.is_in(line)] == []


def _get(given: Settings, looks_again: bool = False) -> Any:
    async def get() -> Any:
        async with Client(given, looks_again=looks_again) as client:
            return await client.get("/v1/agents/")

    return asyncio.run(get())


def test_every_fault_of_the_connection(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    faults = Faults.of(*FAULTS)
    given = {"api_key": KEY, "retries": 5 * len(FAULTS), "timeout": 0.3}
    with serve(Letta(), api_key=KEY, between=faults) as server, no_waits():
        assert _get(settings(server.base_url, **given), looks_again=True) == []
    assert {kind for _, kind in faults.played} == set(FAULTS)
    assert [line for line in log if CANARY.is_in(line)] == []


def test_an_unreachable_host(log: list[str]) -> None:
    with pytest.raises(LettaError) as caught:
        _get(settings("http://127.0.0.1:1", api_key=KEY, retries=0))
    assert [line for line in [*traceback.format_exception(caught.value), *log] if CANARY.is_in(line)] == []


def test_another_host_never_gets_the_key() -> None:
    """Loopback has two names, so the redirect leads to a real host."""
    with serve(Letta()) as elsewhere:
        there = elsewhere.base_url.replace("127.0.0.1", "localhost") + "/v1/agents/"
        with answering(lambda _: http("307 X", Location=there)) as (url, heads):
            with pytest.raises(LettaError, match="redirects to localhost"):
                _get(settings(url, api_key=KEY, retries=0))
            assert len(heads) == 1
    assert elsewhere.requests == []


def redacted(text: str, *secrets: str) -> str:
    return Redactor(map(SecretStr, secrets)).redacted(text)


@pytest.mark.parametrize("secret", ["sesame", "a\"quoted\\key'", KEY, "ä-key-of-ünïcode"])
def test_redaction(secret: str) -> None:
    text = f"{secret}, {json.dumps(secret)}, {b64encode(secret.encode()).decode()}: {quote(secret, safe='')}"
    assert secret not in redacted(text, secret).replace("***", "")
    assert redacted("told: nothing") == "told: nothing"
    assert redacted("nothing at all", "another key", "on") == "nothing at all"


def test_a_secret_in_html_or_quoted_in_lower_case_is_redacted() -> None:
    secret = 'gate&"S3cr<et>/Q9+zz=81'
    quoted = "gate%26%22S3cr%3cet%3e%2fQ9%2bzz%3d81"
    told = f"[{html.escape(secret)}] [{quoted}]"
    assert redacted(told, secret) == "[***] [***]"


def test_pieces_of_the_key_are_redacted_and_nothing_else() -> None:
    assert redacted(f"[{KEY}] [{KEY[5:20]}] [{KEY[:7]}]", KEY) == f"[***] [***] [{KEY[:7]}]"


def test_every_secret_is_redacted() -> None:
    header, key = "header-canary-0123456789", "mask-key-canary-abcdef"
    given = settings(
        api_key=KEY,
        headers={"X-Gate": header, "X-On": "on"},
        mask_key=key,
        proxy=f"http://u:{key[::-1]}@proxy.test:1",
    )
    redact = Redactor(given.secrets)
    assert redact(f"on {KEY} {header} {key} {key[::-1]} {header[3:14]}") == "on *** *** *** *** ***"
    assert redact("a \x1b[31m\u202e\n b") == "a \\x1b[31m\\u202e\n b"


def test_redactors_do_not_show_their_secrets() -> None:
    client = Client(settings(api_key=KEY, headers={"X-Gate": KEY[::-1]}, mask_key=KEY))
    exchange = client._exchange
    parts = (client, vars(client), vars(exchange), exchange._headers, vars(exchange.redact._pieces))
    shown = [repr(one) for one in parts]
    assert not CANARY.is_in("".join(shown))
    assert KEY[::-1][:8] not in "".join(shown)
