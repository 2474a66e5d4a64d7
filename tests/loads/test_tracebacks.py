"""No local variable of ours shows a secret when something fails, because crash reporters send them."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from letta_source import Load, letta, load
from letta_source.cli.app import main
from letta_source.errors import LettaError
from tests.support.configuration import configure, forget
from tests.support.frames import variables

SECRETS = {
    "api_key": "sk-let-frameCanary7Fq9ZxK41",
    "mask_key": "mask-frameCanary-Qe81bnM2kd",
    "header": "gate-frameCanary-Lk20xPq7Ws",
    "proxy": "pw-frameCanary-Uu73mZd9Aa",
    "database": "db-frameCanary-Yt55rRe1Nn",
    "user_info": "url-frameCanary-Ww91kKj3Bb",
}
GIVEN = {
    "api_key": SECRETS["api_key"],
    "mask_key": SECRETS["mask_key"],
    "mask": "content=hash",
    "headers": {"X-Gate": SECRETS["header"]},
    "proxy": f"http://user:{SECRETS['proxy']}@127.0.0.1:9",
    "retries": 0,
    "timeout": 2,
}


def make_then_load(given: dict[str, Any]) -> None:
    letta(**given)
    # Only the load finds out that the server is unreachable.
    load(Load(given))


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "load": lambda given: load(Load(given)),
    "source": make_then_load,
}


def shown(error: BaseException) -> list[str]:
    """Return the places that show a piece of a secret."""
    pieces = {secret[at : at + 12] for secret in SECRETS.values() for at in range(0, len(secret) - 12)}
    # As a proxy is told it.
    pieces.add(b64encode(f"user:{SECRETS['proxy']}".encode()).decode()[8:24])
    return [
        place
        for place, text in variables(error)
        # It gets what its caller has in clear too, and hands it on.
        if "dlt/extract/decorators.py" not in place and any(piece in text for piece in pieces)
    ]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    yield
    forget()


@pytest.fixture
def answers() -> Iterator[Callable[[int, bytes], str]]:
    """Yield a function that starts a server with one response for all requests."""
    servers = []

    def serve(status: int, body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = body.replace(b"ECHO", str(self.headers).encode())
                self.send_response(status)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"detail": "no"}'),
        (401, b'{"detail": "ECHO"}'),
        (403, b"<html>ECHO</html>"),
        (404, b'{"detail": "ECHO"}'),
        (500, b"ECHO"),
        (200, b"ECHO"),
        (200, b"<html>"),
        (302, b""),
    ],
)
def test_server_errors(answers: Callable[[int, bytes], str], status: int, body: bytes) -> None:
    given = {**GIVEN, "base_url": answers(status, body)}
    with pytest.raises(LettaError) as failed:
        load(Load(given))
    assert shown(failed.value) == []


@pytest.fixture
def breaks() -> Iterator[Callable[[bytes | None], int]]:
    """Yield a function that starts a server which resets each connection; returns its port."""
    listening = []

    def serve(sent: bytes | None) -> int:
        """Args: sent: an answer to send before; None to read nothing either."""
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        # Closing sends a reset.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        if sent is not None:
                            connection.recv(1 << 16)
                            connection.sendall(sent)

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield serve
    for listener in listening:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
KEY = SECRETS["api_key"].encode()
BROKEN = {
    "reset": None,
    "nothing": b"",
    "no http": b"\x00\x01\r\n\r\n",
    "half a header": b"HTTP/1.1 200 O",
    "half a body": OK + b"Content-Length: 99\r\n\r\n[",
    "a wrong chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "broken gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nxxxxxxxxx",
    "the key as reason": b"HTTP/1.1 401 " + KEY + b"\r\nContent-Length: 0\r\n\r\n",
    "the key in a redirect": b"HTTP/1.1 307 F\r\nLocation: /v1/agents/?k="
    + KEY
    + b"\r\nContent-Length: 0\r\n\r\n",
    "the proxy refuses": b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("way", ["http", "https", "http through a proxy", "https through a proxy"])
def test_broken_connections(breaks: Callable[[bytes | None], int], sent: bytes | None, way: str) -> None:
    """There the frames of HTTP libraries hold the request as it was sent, and the proxy's password."""
    scheme, _, through = way.partition(" through ")
    at = f"127.0.0.1:{breaks(sent)}"
    given = {**GIVEN, "base_url": f"{scheme}://{at}"}
    if through:
        given |= {"base_url": f"{scheme}://letta.invalid", "proxy": f"http://user:{SECRETS['proxy']}@{at}"}
    with pytest.raises(LettaError) as failed:
        load(Load(given))
    assert shown(failed.value) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_size": 0},
        {"base_url": "http://nobody.invalid"},
        {"base_url": f"http://me:{SECRETS['user_info']}@localhost:1"},
        {"base_url": f"http://localhost:1/?key={SECRETS['user_info']}"},
        {"api_key": f"{SECRETS['api_key']}\u2026"},
        {"api_key": {"key": SECRETS["api_key"]}},
        {"mask_key": SECRETS["mask_key"][:14]},
        {"headers": {"X-Gate": f"{SECRETS['header']}\r\nX-Evil: 1"}},
        {"headers": f"X-Gate {SECRETS['header']}"},
        {"headers": {"Authorization": f"Basic {SECRETS['header']}"}},
        {"proxy": f"ftp://user:{SECRETS['proxy']}@127.0.0.1:9", "base_url": "http://192.0.2.1"},
        {"proxy": f"http://user:{SECRETS['proxy']}@127.0.0.1:9", "base_url": "http://192.0.2.1"},
        {"proxy": f"http://user:{SECRETS['proxy']}#@x:y", "base_url": "http://192.0.2.1"},
        {"mask": "txt=drop"},
        {"ca_bundle": "/not/there.pem"},
        {"agent_ids": ["../agent"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", WAYS)
def test_wrong_settings(wrong: dict[str, Any], way: str) -> None:
    given = {**GIVEN, "base_url": "http://127.0.0.1:1", **wrong}
    with pytest.raises(LettaError) as failed:
        WAYS[way](given)
    assert shown(failed.value) == []


@pytest.mark.parametrize(
    "variables_",
    [
        {"SOURCES__LETTA__PAGE_SIZE": "many"},
        {"SOURCES__LETTA__API_KEY": f"{SECRETS['api_key']}\u2026"},
        {"SOURCES__LETTA__HEADERS": f"X-Gate {SECRETS['header']}"},
        {"SOURCES__LETTA__HEADERS": f'{{"X-Gate": "{SECRETS["header"]}"'},
        {"SOURCES__LETTA__APIKEY": SECRETS["api_key"]},
        {"LETTA_BASE_URL": f"http://me:{SECRETS['user_info']}@localhost"},
        {
            "LETTA_BASE_URL": "http://192.0.2.1",
            "HTTP_PROXY": f"http://u:{SECRETS['proxy']}#x@proxy.test:port",
        },
        {"LETTA_BASE_URL": "http://192.0.2.1", "ALL_PROXY": f"ftp://u:{SECRETS['proxy']}@proxy.test"},
        {
            "DESTINATION": "postgres",
            "DESTINATION__POSTGRES__CREDENTIALS": f"postgresql://u:{SECRETS['database']}@127.0.0.1:1/db",
        },
        {
            "DESTINATION": "postgres",
            "DESTINATION__POSTGRES__CREDENTIALS": f"postgresql://u:{SECRETS['database']}@127.0.0.1:port/db",
        },
    ],
    ids=str,
)
def test_the_environment(variables_: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment as a whole is not visible in a frame either."""
    monkeypatch.setenv("LETTA_API_KEY", SECRETS["api_key"])
    monkeypatch.setenv("LETTA_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")
    monkeypatch.setenv("SOURCES__LETTA__TIMEOUT", "2")
    destination = variables_.pop("DESTINATION", "duckdb") if "DESTINATION" in variables_ else "duckdb"
    for name, value in variables_.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LettaError) as failed:
        load(Load(destination=destination))
    assert shown(failed.value) == []


@pytest.mark.parametrize(
    ("config", "secrets"),
    [
        (f'[sources.letta]\napi_key = "{SECRETS["api_key"]}"', ""),
        ("", f'[sources.letta]\napi_kye = "{SECRETS["api_key"]}"'),
        ("", f"[sources.letta]\napi_key = {SECRETS['api_key']}"),
        ("", f'[sources.letta]\napi_key = ["{SECRETS["api_key"]}"]'),
        ("[sources.letta]\npage_size = 0", f'[sources.letta]\napi_key = "{SECRETS["api_key"]}"'),
        (f'[sources.letta]\nproxy = "http://u:{SECRETS["proxy"]}@h"', ""),
        ("", f'[sources.letta.headers]\nX-Gate = "{SECRETS["header"]}\\n"\nHost = "a"'),
    ],
)
def test_files(tmp_path: Path, config: str, secrets: str) -> None:
    configure(tmp_path, config, secrets)
    with pytest.raises(LettaError) as failed:
        load(Load({"base_url": "http://127.0.0.1:1"}))
    assert shown(failed.value) == []


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LETTA_API_KEY", SECRETS["api_key"])
    assert main(["run", "--base-url", f"http://me:{SECRETS['user_info']}@127.0.0.1:1"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert SECRETS["user_info"][:8] not in said.err
