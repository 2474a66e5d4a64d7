"""Errors of connecting, and of a first response that breaks off, name the cause and a remedy."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from letta_source.api.causes import Route, describe_broken_response, describe_cause, is_lasting
from letta_source.api.client import Client
from letta_source.errors import LettaError
from tests.support.wire import get, settings

pytestmark = pytest.mark.usefixtures("waits")

PASSWORD = "s3cretPass"
Play = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an authority's certificates: its own, of localhost, of another host, and an expired one."""
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl, to make certificates")
    folder = tmp_path_factory.mktemp("causes")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    # From Python 3.13 on certificates are held to RFC 5280: the extensions are needed.
    authority = ("-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *authority)
    openssl("req", *new, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=server")
    signed = ("-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    for name, host, days in (
        ("good", "localhost", "2"),
        ("other", "other.test", "2"),
        # Expired in the moment it is made: newer versions of openssl make none that ended before it began.
        ("old", "localhost", "0"),
    ):
        (folder / "names").write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid")
        openssl("x509", "-req", *signed, "-days", days, "-extfile", "names", "-out", f"{name}.crt")
        both = (folder / f"{name}.crt").read_text() + (folder / "key.pem").read_text()
        (folder / f"{name}.pem").write_text(both)
    return folder


@contextmanager
def port_of(play: Play) -> Iterator[int]:
    """Yield a port on which each connection is handled by `play`."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                play(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            # This wakes the thread that accepts.
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def speaks_tls(pem: Path, client_ca: Path | None = None) -> Play:
    """Serve with TLS; require a client certificate if an authority is given."""

    def play(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.recv(4096)
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

    return play


def says(text: bytes) -> Play:
    def play(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return play


def hangs_up(connection: socket.socket) -> None:
    connection.recv(4096)


def waits(connection: socket.socket) -> None:
    hangs_up(connection)
    hangs_up(connection)


def resets(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def said_by(url: str, **given: Any) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        get(url, retries=0, **given)
    # Errors of ssl, sockets and httpx are all wrapped.
    assert type(caught.value).__module__.startswith("letta_source")
    return str(caught.value)


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (
            "other.pem",
            "certificate is for another name (Hostname mismatch, certificate is not valid for 'localhost')",
        ),
        ("old.pem", "certificate is out of date (certificate has expired): have it renewed"),
    ],
)
def test_a_certificate_for_another_name(pems: Path, pem: str, said: str) -> None:
    with port_of(speaks_tls(pems / pem)) as port:
        found = said_by(f"https://localhost:{port}", ca_bundle=str(pems / "ca.pem"))
    assert f"https://localhost:{port} cannot be reached: its {said}" in found
    assert "ca_bundle" not in found


def test_an_untrusted_certificate(pems: Path) -> None:
    with port_of(speaks_tls(pems / "good.pem")) as port:
        assert get(f"https://localhost:{port}", ca_bundle=str(pems / "ca.pem")) == []
        assert "is not trusted (unable to get local issuer certificate): name" in said_by(
            f"https://localhost:{port}"
        )


def test_a_client_certificate_requested_after_the_handshake(pems: Path) -> None:
    """With TLS 1.3 the refusal comes with the first response, as an error that httpcore does not wrap."""
    with port_of(speaks_tls(pems / "good.pem", client_ca=pems / "ca.pem")) as port:
        asked = said_by(f"https://localhost:{port}", ca_bundle=str(pems / "ca.pem"))
    # If the server closes the connection at once, its alert may be lost.
    assert "does it require a client certificate" in asked or "closed the connection" in asked


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_tls_error_during_a_load_is_a_failed_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tls_error("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")

    class Stream(httpcore.AsyncNetworkStream):
        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            raise broken

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if kind == "write":
                raise broken

        async def aclose(self) -> None:
            pass

        def get_extra_info(self, info: str) -> None:
            return None

    async def connect(*args: Any, **kwargs: Any) -> Stream:
        return Stream()

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    assert "Error on /v1/agents/: TLS failed" in said_by("http://localhost:1")


@pytest.mark.parametrize("url", ["https://localhost", "http://localhost"])
@pytest.mark.parametrize(
    ("play", "said"),
    [
        (
            hangs_up,
            (
                "closed the connection during the TLS handshake",
                "closed the connection: is the port right, or",
            ),
        ),
        (resets, ("the connection was reset: is", "closed the connection: is the port right, or")),
        (
            says(b"SSH-2.0-OpenSSH_9\r\n"),
            ("it speaks plain http on this port", "response is not HTTP: is the port right"),
        ),
    ],
    ids=["hangs up", "resets", "ssh"],
)
def test_the_port_of_another_service(url: str, play: Play, said: tuple[str, str]) -> None:
    with port_of(play) as port:
        found = said_by(f"{url}:{port}")
    assert said[url.startswith("http:")] in found or "closed the connection" in found


def test_a_server_that_never_answers() -> None:
    with port_of(waits) as port:
        assert "no response from localhost in time: see the setting `timeout`" in said_by(
            f"http://localhost:{port}", timeout=0.05
        )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("403 Forbidden", "the proxy refuses (403): ask for access to this host"),
        ("405 Method Not Allowed", "the proxy refuses (405)"),
        ("407 Proxy Authentication Required", "the proxy asks for a user and password"),
        ("502 Bad Gateway", "the proxy cannot reach letta.test (502): is the URL right"),
        ("504 Gateway Timeout", "the proxy cannot reach letta.test (504)"),
    ],
)
def test_proxy_responses_to_connect(status: str, said: str) -> None:
    with port_of(says(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as port:
        found = said_by("https://letta.test", proxy=f"http://corp-user:{PASSWORD}@127.0.0.1:{port}")
    assert f"https://letta.test cannot be reached: {said}" in found
    assert PASSWORD not in found


@pytest.mark.parametrize("url", ["https://letta.test", "http://letta.test"])
def test_a_server_that_is_not_a_proxy(url: str, pems: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = closed.getsockname()[1]
    refused = said_by(url, proxy=f"http://corp-user:{PASSWORD}@127.0.0.1:{away}")
    assert f"refused by the proxy 127.0.0.1:{away}: is the port right, is the proxy up?" in refused
    assert "proxy.invalid is not known to DNS: is the proxy's URL right?" in said_by(
        url, proxy=f"http://corp-user:{PASSWORD}@proxy.invalid:3128"
    )
    with port_of(hangs_up) as port:
        hung_up = said_by(url, proxy=f"http://corp-user:{PASSWORD}@127.0.0.1:{port}")
    assert (
        f"the proxy 127.0.0.1:{port} closed the connection: is the port right, or does it speak https"
        in hung_up
    )
    with port_of(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert "the proxy speaks plain http: write its URL as http://" in said_by(
            url, proxy=f"https://corp-user:{PASSWORD}@localhost:{port}"
        )
    with port_of(speaks_tls(pems / "good.pem")) as port:
        untrusted = said_by(url, proxy=f"https://corp-user:{PASSWORD}@localhost:{port}")
    assert "proxy's" in untrusted
    assert "is not trusted" in untrusted
    assert PASSWORD not in refused + hung_up + untrusted


def failed(cause: BaseException) -> httpx.ConnectError:
    error = httpx.ConnectError("")
    error.__cause__ = cause
    return error


def tls_error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "said", "lasts"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "client and server share no TLS version", True),
        ("UNSUPPORTED_PROTOCOL", "client and server share no TLS version", True),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "does it require a client certificate", True),
        ("TLSV1_ALERT_UNKNOWN_CA", "does it require a client certificate", True),
        ("WRONG_VERSION_NUMBER", "it speaks plain http", True),
        ("UNEXPECTED_EOF_WHILE_READING", "closed the connection during the TLS handshake", False),
        ("TLSV1_ALERT_INTERNAL_ERROR", "TLS failed (TLSV1_ALERT_INTERNAL_ERROR)", False),
    ],
)
def test_openssl_reasons_are_explained(reason: str, said: str, lasts: bool) -> None:
    error = failed(tls_error(reason))
    assert said in describe_cause(error, Route("letta.test", is_tls=True))
    assert is_lasting(error) is lasts


def test_the_wait_that_timed_out_is_not_reported_as_the_cause() -> None:
    error = httpx.ReadTimeout("")
    error.__context__ = ssl.SSLWantReadError()
    assert "no response from letta.test" in describe_broken_response(error, Route("letta.test"))
    slow = httpx.ConnectTimeout("")
    slow.__context__ = ssl.SSLWantReadError()
    assert "attempt to connect to the proxy p:1" in describe_cause(slow, Route("letta.test", proxy="p:1"))


def test_no_hint_about_the_port_during_a_load() -> None:
    async def main(base_url: str) -> None:
        async with Client(settings(base_url, retries=0), looks_again=False) as client:
            client.server.lets_read = True
            await client.get("/v1/agents/")

    with port_of(hangs_up) as port, pytest.raises((LettaError, Exception)) as caught:
        asyncio.run(main(f"http://localhost:{port}"))
    assert "port" not in str(caught.value)
