"""The HTTP server around the API: loopback only, with keep-alive connections."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .api import Answer, Dialect, answer, joined_params
from .letta import Letta

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Reply:
    """An answer as sent over the wire."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        """Return status line and headers, with the length of the body."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1")


def reset(connection: socket.socket) -> None:
    """Make the connection, once it is closed, end with a RST instead of gracefully."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def is_reset(connection: socket.socket) -> bool:
    """Return True if `reset` was called for the connection."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET


Between = Callable[[str, Reply, socket.socket], Reply | None]
"""Takes a path, the right answer and the connection; returns what to answer, or None to close it now."""


@dataclass(frozen=True)
class Request:
    """A request as received; the names of its headers are in lower case."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Server:
    """A running server: its URL, and the requests it received, in order."""

    base_url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serve(
    letta: Letta,
    dialect: Dialect = "self-hosted",
    api_key: str | None = None,
    missing: Collection[str] = (),
    delay: float = 0.0,
    port: int = 0,
    between: Between | None = None,
) -> Iterator[Server]:
    """Serve a Letta on loopback for as long as the context lasts.

    Args:
        letta: The Letta to serve; it may be mutated meanwhile.
        dialect: The dialect whose quirks to show: those measured self-hosted, or Cloud's.
        api_key: The key to require.
        missing: Families that answer 404: agents, groups, runs, steps, conversations, batches or messages. A
            path belongs to the family that it begins with: /v1/runs/{id}/steps to runs.
        delay: Seconds before each answer.
        port: The port, by default any free one.
        between: Stands between the server and its clients, as a proxy would; by default nothing does.
    """

    def reply(request: Request, body: Any) -> Reply:
        time.sleep(delay)
        return make_reply(letta, dialect, request, body, api_key, missing)

    requests: list[Request] = []
    given_between = between

    class Handler(_Handler):
        log = requests
        reply_to = staticmethod(reply)
        between = staticmethod(given_between) if given_between else None

    http_server = _HTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{http_server.server_port}", requests)
    finally:
        http_server.shutdown()
        http_server.server_close()
        thread.join()
        http_server.hang_up()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if is_reset(request):
            # A shutdown would first close it gracefully.
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report the error, unless the client only hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Close the connections that clients keep alive, so that none is answered any more."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The client closed it first.
                self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Send small answers at once: TCP_NODELAY.
    disable_nagle_algorithm = True
    wbufsize = -1
    log: list[Request]
    reply_to: Any
    between: Between | None

    def setup(self) -> None:
        super().setup()
        self.broken = False

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            self._send(_to_wire(Answer(422, {"trace_id": "", "detail": "JSON decode error"})))
        else:
            self._reply(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: `log` keeps the requests."""

    def _reply(self, body: Any) -> None:
        if self.broken:
            # After a 500, the server resets the connection without notice: the next request on it fails.
            reset(self.connection)
            self.close_connection = True
            return
        url = urlsplit(self.path)
        params = joined_params(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, unquote(url.path), params, headers)
        self.log.append(request)
        reply: Reply | None = self.reply_to(request, body)
        if reply and self.between:
            reply = self.between(request.path, reply, self.connection)
        if reply:
            self._send(reply)
        else:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        self.wfile.write(reply.head() + reply.body)
        self.broken = reply.status == 500


def make_reply(
    letta: Letta,
    dialect: Dialect,
    request: Request,
    body: Any,
    api_key: str | None = None,
    missing: Collection[str] = (),
) -> Reply:
    """Answer a request as `serve` does; `body` is the decoded JSON of a POST."""
    return _to_wire(
        answer(
            letta,
            dialect,
            request.method,
            request.path,
            request.params,
            request.headers,
            body,
            api_key=api_key,
            missing=missing,
        )
    )


def _to_wire(answer: Answer) -> Reply:
    if answer.body is None:
        return Reply(answer.status, b"", answer.headers)
    # UTF-8 cannot hold lone surrogates; as backslash escapes they are still JSON.
    body = json.dumps(answer.body, ensure_ascii=False).encode(errors="backslashreplace")
    return Reply(answer.status, body, {**answer.headers, "Content-Type": "application/json"})
