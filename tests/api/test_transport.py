"""Connections: proxies and certificates, wherever they are configured, and the causes of failures."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from letta_source.api import transport
from letta_source.api.client import Client
from letta_source.api.transport import find_proxy, make_connector
from letta_source.demo import Letta, serve
from letta_source.errors import AuthError, ConfigError, LettaError, Unreachable
from tests.support.wire import get, settings

SECRETS = ("s3cret", "corp-user", "Pass")
AWAY = "https://letta.corp.example"


def proxy_for(url: str, **variables: str) -> str | None:
    found = find_proxy(settings(url), variables)
    return str(found.url) if found else None


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"https": "http://proxy.test:3128"}, "http://proxy.test:3128"),
        ({"http": "http://proxy.test:3128"}, None),
        ({"all": "proxy.test:3128"}, "http://proxy.test:3128"),
        ({"all": "http://other.test", "https": "https://proxy.test"}, "https://proxy.test"),
    ],
)
def test_the_environment_names_a_proxy(variables: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(AWAY, **variables) == proxy


@pytest.mark.parametrize(
    "no_proxy",
    [
        *(
            "*",
            "letta.corp.example",
            ".corp.example",
            "*.corp.example",
            "corp.example",
            "LETTA.Corp.Example.",
        ),
        *("localhost,127.0.0.1,[::1],corp.example", "fe80::/10, corp.example", "corp.example:443"),
    ],
)
def test_no_proxy_is_needed(no_proxy: str) -> None:
    assert proxy_for(AWAY, https="http://proxy.test", no=no_proxy) is None


@pytest.mark.parametrize(
    "no_proxy", ["", ",", "[", "[::1", "example.com", "orp.example", "corp.example:8443", "::/0"]
)
def test_a_proxy_is_needed(no_proxy: str) -> None:
    assert proxy_for(AWAY, https="http://proxy.test", no=no_proxy) == "http://proxy.test"


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://10.1.2.3:8283", "10.0.0.0/8"),
        ("http://10.1.2.3:8283", "10.1.2.3"),
        ("http://[fe80::1]:8283", "fe80::/10"),
        ("http://[fe80::1]:8283", "[fe80::1]:8283"),
    ],
)
def test_addresses_and_networks_need_no_proxy(url: str, no_proxy: str) -> None:
    assert proxy_for(url, http="http://proxy.test", no=no_proxy) is None
    assert proxy_for(url, http="http://proxy.test", no="192.168.0.0/16,fd00::/8") is not None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST.", "api.localhost", "[::1]"]
)
def test_requests_to_this_machine_need_no_proxy(host: str) -> None:
    assert find_proxy(settings(f"http://{host}:8283", proxy="http://proxy.test"), {"http": "bad://"}) is None


def test_the_setting_names_a_proxy_or_none() -> None:
    variables = {"https": "http://another.test"}
    found = find_proxy(settings(AWAY, proxy="http://u:p@proxy.test:1"), variables)
    assert found
    assert (str(found.url), found.raw_auth) == ("http://proxy.test:1", (b"u", b"p"))
    assert find_proxy(settings(AWAY, proxy="none"), variables) is None


@pytest.mark.parametrize(
    "value",
    [
        *("http://corp-user:s3cret#Pass@proxy.corp.example:8080", "http://corp-user:s3cretPass@proxy:port"),
        *(
            "http://corp-user:s3cret/Pass@proxy:1",
            "http://corp-user:s3cretPass@proxy:99999",
            "http://",
            ":",
            "//",
        ),
        *(
            "socks4://corp-user:s3cretPass@proxy:1",
            "ftp://proxy",
            "http://[::1",
            "http://corp-user:s3cretPass@",
        ),
    ],
)
def test_an_unusable_proxy_is_named_without_its_password(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(ConfigError, match=r"^HTTPS_PROXY") as caught:
        make_connector(settings(AWAY))
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
def test_socks_needs_a_package(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="ALL_PROXY: a SOCKS proxy needs the package socksio"):
        find_proxy(settings(AWAY), {"all": f"{scheme}://127.0.0.1:7890/"})
    monkeypatch.setattr(transport, "find_spec", lambda name: name)
    assert find_proxy(settings(AWAY), {"all": f"{scheme}://127.0.0.1:7890/"})


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_unusable_ca_bundle_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "away.pem"))
    with pytest.raises(ConfigError, match=rf"^{variable}: there is no file"):
        make_connector(settings(AWAY))
    (tmp_path / "away.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=rf"^{variable}: .* holds no certificates"):
        make_connector(settings(AWAY))
    # Plain http needs no certificates.
    make_connector(settings("http://127.0.0.1:8283"))


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate of localhost, its key, both in one file, and the encrypted key."""
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl, to make certificates")
    folder = tmp_path_factory.mktemp("pems")
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*openssl, *names, *files], check=True, capture_output=True)
    locked = ["-aes256", "-passout", "pass:s3cret", "-out", str(folder / "locked.pem")]
    subprocess.run(
        ["openssl", "rsa", "-in", str(folder / "key.pem"), *locked], check=True, capture_output=True
    )
    both = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder


def test_client_certificates(pems: Path) -> None:
    for given in (f"{pems / 'both.pem'}", f"{pems / 'cert.pem'}, {pems / 'key.pem'}"):
        make_connector(settings(AWAY, client_cert=given))
    for given in (f"{pems / 'cert.pem'}", f"{pems / 'cert.pem'},{pems / 'locked.pem'}"):
        with pytest.raises(
            ConfigError, match=r"^client_cert: .* holds no certificate with its key, unencrypted"
        ):
            make_connector(settings(AWAY, client_cert=given))


@contextmanager
def tls_port(pems: Path, asks: bool = False) -> Iterator[str]:
    """Answer every request with an empty list over TLS; require a client certificate if `asks`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pems / "both.pem")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pems / "cert.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(4096):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
            await writer.drain()
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0, ssl=context))
    loop.set_exception_handler(lambda loop, context: None)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"localhost:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def said_by(url: str, **given: Any) -> str:
    with pytest.raises((LettaError, Exception)) as caught:
        get(url, retries=0, **given)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_certificates_of_a_server(pems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert = str(pems / "cert.pem")
    with tls_port(pems) as where:
        assert "certificate is not trusted (self" in said_by(f"https://{where}")
        assert get(f"https://{where}", ca_bundle=cert) == []
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        assert get(f"https://{where}") == []
        assert "it speaks https on this port" in said_by(f"http://{where}") or "on /v1/" in said_by(
            f"http://{where}"
        )
    with tls_port(pems, asks=True) as where:
        assert get(f"https://{where}", client_cert=str(pems / "both.pem")) == []


def test_connection_failures_are_explained(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "the connection was refused" in said_by(f"http://127.0.0.1:{port}")
    assert "is not known to DNS" in said_by("http://letta.invalid", proxy="none")
    with serve(Letta()) as server:
        plain = server.base_url.replace("http://", "https://")
        assert "it speaks plain http on this port" in said_by(plain)
    assert "letta.test cannot be reached" in said_by("https://" + "a" * 70 + ".letta.test", proxy="none")


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_a_proxy_that_refuses(status: str, waits: list[float]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def main(url: str) -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            proxy = f"http://corp-user:s3cretPass@127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Client(settings(url, proxy=proxy, retries=0), looks_again=False) as client:
                await client.get("/v1/agents/")

    for url in ("https://letta.test", "http://letta.test"):
        with pytest.raises((Unreachable, AuthError), match=r"the proxy|gateway or proxy") as caught:
            asyncio.run(main(url))
        assert not [secret for secret in SECRETS if secret in str(caught.value)]


def test_large_responses_are_read_in_large_pieces() -> None:
    """httpcore reads pieces of 64 kB, each in a turn of the event loop: a fifth of a page's time."""
    body = b"[" + b" " * 3_000_000 + b"]"
    sizes: list[int] = []

    async def main(base_url: str) -> None:
        connection = make_connector(settings(base_url))()
        response = await connection.handle_async_request(httpx.Request("GET", base_url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for piece in response.stream:
            sizes.append(len(piece))
        await connection.aclose()

    def reply() -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(4096)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        thread = threading.Thread(target=reply)
        thread.start()
        asyncio.run(main(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join()
    assert sum(sizes) == len(body)
    assert max(sizes) > 1 << 16
