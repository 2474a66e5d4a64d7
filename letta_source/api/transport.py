"""Connections to the server: certificates, proxies, and reads of up to 1 MB.

A setting or environment variable that cannot be used raises ConfigError; its text never holds the value,
which may be a password.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpcore
import httpx
from pydantic import SecretStr

from letta_source.api.causes import Route
from letta_source.errors import ConfigError
from letta_source.settings import Settings, is_loopback

# httpcore reads 64 kB per turn of the event loop; a page has about 1 MB.
_READ_BYTES = 1 << 20
_KEEPALIVE_SECONDS = 5.0
_LAST_PORT = 65535
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")


def make_connector(settings: Settings) -> Callable[[], httpx.AsyncHTTPTransport]:
    """Return a function that creates a transport with one connection.

    Raises:
        ConfigError: a certificate cannot be loaded, or the proxy cannot be used.
    """
    url = httpx.URL(settings.base_url)
    proxy = find_proxy(settings)
    tls = None
    if url.scheme == "https" or not is_loopback(url.host) or (proxy and proxy.url.scheme == "https"):
        tls = _certificates(*_ca_bundle(settings), settings.client_cert)
    return lambda: _Transport(tls, proxy)


def route_to(settings: Settings) -> Route:
    """Return the route to the server, to explain why a connection failed."""
    url, proxy = httpx.URL(settings.base_url), find_proxy(settings)
    if proxy is None:
        return Route(url.host, url.scheme == "https")
    port = proxy.url.port or {"https": 443}.get(proxy.url.scheme, 80)
    return Route(url.host, url.scheme == "https", f"{proxy.url.host}:{port}", proxy.url.scheme == "https")


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, tls: ssl.SSLContext | None, proxy: httpx.Proxy | None) -> None:
        # Not the pool of httpx, which takes no network backend.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            proxy=_to_httpcore(proxy, tls) if proxy else None,
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=_Backend(),
        )


def _to_httpcore(proxy: httpx.Proxy, tls: ssl.SSLContext | None) -> httpcore.Proxy:
    url = proxy.url
    return httpcore.Proxy(
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        auth=proxy.raw_auth,
        ssl_context=tls if url.scheme == "https" else None,
    )


class _Backend(httpcore.AnyIOBackend):
    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await super().connect_tcp(*args, **kwargs))
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            raise
        except Exception as error:
            # For an impossible host name, the event loop raises UnicodeError, OverflowError or a group.
            raise httpcore.ConnectError(type(error).__name__) from error


class _Stream(httpcore.AsyncNetworkStream):
    """A stream that reads larger pieces than requested."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return await self._stream.read(_READ_BYTES, timeout)
        except ssl.SSLError as error:
            # httpcore does not map this error: with TLS 1.3 a refusal comes after the handshake.
            raise httpcore.ReadError(error.reason) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.write(buffer, timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(error.reason) from error

    async def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(*args, **kwargs))


def find_proxy(settings: Settings, variables: Mapping[str, str] | None = None) -> httpx.Proxy | None:
    """Return the proxy to the server: from the setting, else from the environment; none for this machine.

    Args:
        variables: proxies by scheme, and hosts that need none under "no"; by default the environment's.

    Raises:
        ConfigError: the proxy cannot be used.
    """
    url = httpx.URL(settings.base_url)
    if is_loopback(url.host):
        return None
    if settings.proxy:
        return None if settings.proxy == SecretStr("none") else _parse_proxy("proxy", settings.proxy)
    found = _proxies(variables)
    if _needs_no_proxy(url, found["no"].get_secret_value() if "no" in found else ""):
        return None
    for scheme in (url.scheme, "all"):
        if found.get(scheme):
            return _parse_proxy(f"{scheme.upper()}_PROXY", found[scheme])
    return None


def _proxies(variables: Mapping[str, str] | None) -> dict[str, SecretStr]:
    """Return the proxies; no local variable holds their passwords."""
    return {
        name: SecretStr(value)
        for name, value in (urllib.request.getproxies() if variables is None else variables).items()
    }


def _parse_proxy(name: str, value: SecretStr) -> httpx.Proxy:
    url = _url_of_proxy(value)
    if not url.host:
        raise ConfigError(
            f"{name} is not a proxy URL such as http://proxy.example:8080; in a password, # / ? @ : must be"
            " percent-encoded"
        )
    if url.scheme not in ("http", "https", "socks5", "socks5h"):
        raise ConfigError(f"{name}: only proxies of http, https and socks5 can be used")
    if url.scheme.startswith("socks5") and not find_spec("socksio"):
        raise ConfigError(f"{name}: a SOCKS proxy needs the package socksio: pip install 'httpx[socks]'")
    return httpx.Proxy(url)


def _url_of_proxy(value: SecretStr) -> httpx.URL:
    """Return the proxy's URL, empty if invalid; no error is raised while a variable holds it as text."""
    # GNOME writes socks:// into ALL_PROXY.
    text = value.get_secret_value().strip().replace("socks://", "socks5://", 1)
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except (httpx.InvalidURL, ValueError):
        # The error's text quotes parts of the URL.
        return httpx.URL("")
    return httpx.URL("") if (url.port or 0) > _LAST_PORT else url


def _needs_no_proxy(url: httpx.URL, no_proxy: str) -> bool:
    """Return True if NO_PROXY names the host: by name, domain, address or network, with or without a port."""
    entries = (entry.strip().lower() for entry in no_proxy.replace(" ", ",").split(","))
    return any(_names(entry, url) for entry in entries if entry)


def _names(entry: str, url: httpx.URL) -> bool:
    if entry == "*":
        return True
    host = url.host.rstrip(".").lower()
    name, port = entry.split("://", 1)[-1], ""
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
    if port and port != str(url.port or {"http": 80, "https": 443}.get(url.scheme)):
        return False
    try:
        return ip_address(host) in ip_network(name, strict=False)
    except (ValueError, TypeError):
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _ca_bundle(settings: Settings) -> tuple[str, str | None]:
    """Return the setting or variable that names certificates to trust, and the path; None for certifi's."""
    if settings.ca_bundle:
        return "ca_bundle", settings.ca_bundle
    for name in _CA_VARIABLES:
        if os.environ.get(name):
            return name, os.environ[name]
    return "", None


# Cached, as loading takes longer than many a request.
@cache
def _certificates(name: str, path: str | None, client_cert: str | None) -> ssl.SSLContext:
    if path is None:
        context = httpx.create_ssl_context(trust_env=False)
    else:
        if not Path(path).exists():
            raise ConfigError(f"{name}: there is no file {path}")
        where = {"capath" if Path(path).is_dir() else "cafile": path}
        try:
            context = ssl.create_default_context(**where)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise ConfigError(f"{name}: {path} holds no certificates in PEM form") from error
    if client_cert:
        cert, _, key = (None, "", "") if Path(client_cert).is_file() else client_cert.partition(",")
        try:
            # Without this function, OpenSSL asks on the terminal for the password of an encrypted key.
            context.load_cert_chain(cert or client_cert, key or None, password=lambda: "")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"client_cert: {client_cert} holds no certificate with its key, unencrypted, in PEM form"
            ) from error
    return context
