"""How this computer reaches an address, and what a person can fix if it can't."""

import ipaddress
import os
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx2
from socksio import SOCKSError

from callrail_relay.domain import sentences_from
from callrail_relay.domain.printable import printable
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import SettingsError

sentence = sentences_from(__package__, "network")
_OWN_SETTINGS = "the proxy settings of this computer"
_SCHEMES = ("http", "https", "socks5", "socks5h")
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the names by which OpenSSL finds certificates in a directory


@dataclass(frozen=True, kw_only=True)
class Network:
    """The proxy and the certificates for one address, and in words where they come from."""

    proxy: httpx2.Proxy | None
    way: str
    certificates: ssl.SSLContext
    source: str = ""

    @property
    def words(self) -> str:
        certificates = f"; certificates: {self.source}" if self.source else ""
        return f"{self.way[0].upper()}{self.way[1:]}{certificates}."

    def transport(self, limits: httpx2.Limits) -> httpx2.AsyncBaseTransport:
        """Return a transport that uses these and nothing else from the environment."""
        transport = _Transport(verify=self.certificates, proxy=self.proxy, limits=limits, trust_env=False)
        transport.through = f", {self.way}" if self.proxy else ""
        return transport


class _Transport(httpx2.AsyncHTTPTransport):
    through = ""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await super().handle_async_request(request)
        except SOCKSError as error:
            # httpcore2 doesn't translate it. It happens in the greeting, before any byte of the request.
            raise httpx2.ProxyError(f"The proxy does not speak SOCKS5{self.through}") from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            if not self.through:
                raise
            raise type(error)(f"{str(error) or type(error).__name__}{self.through}") from error


def find_network(address: str) -> Network:
    """Return how to reach *address* from here. Raises SettingsError, naming the variable at fault."""
    url = httpx2.URL(address)
    # A proxy is for the way out: it must not get what is meant for this machine.
    proxy, way = (None, "no proxy") if is_loopback(url.host) else _find_proxy(url)
    if url.scheme != "https":
        # Without TLS, nothing is looked up in it.
        return Network(proxy=proxy, way=way, certificates=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    certificates, source = _load_certificates()
    return Network(proxy=proxy, way=way, certificates=certificates, source=source)


# The proxy


def _find_proxy(url: httpx2.URL) -> tuple[httpx2.Proxy | None, str]:
    proxies = getproxies()
    scheme = next((scheme for scheme in (url.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None:
        return None, "no proxy"
    variable = _variable(f"{scheme}_proxy")
    if _is_exempt(url, proxies.get("no", "")):
        return None, f"no proxy for {url.host} ({_variable('no_proxy') or _OWN_SETTINGS})"
    source = variable or _OWN_SETTINGS
    raw = proxies[scheme].strip()
    proxy = _read_proxy(raw, f"The environment variable {variable}" if variable else f"What {source} name")
    return proxy, f"through the proxy {_without_credentials(str(proxy.url))} ({source})"


def _variable(name: str) -> str | None:
    """Return the name as written in the environment; lower case wins, as in urllib. Windows uses capitals."""
    written = [one for one in os.environ if one.lower() == name and os.environ[one]]
    return min(written, key=lambda one: (one != name, one != name.upper()), default=None)


def _read_proxy(raw: str, what: str) -> httpx2.Proxy:
    address = raw if "://" in raw else f"http://{raw}"
    scheme = address.partition("://")[0].lower()
    shown = printable(_without_credentials(raw))[:100]
    if scheme not in _SCHEMES:
        # Desktops write "socks://" for a proxy that usually speaks SOCKS5; curl takes it for SOCKS4.
        raise SettingsError(sentence("no_proxy_kind", what=what, shown=shown, scheme=printable(scheme)))
    with suppress(ValueError, httpx2.InvalidURL):
        url = httpx2.URL(address)
        port = 1 if url.port is None else url.port
        if url.host and 0 < port < 65536 and not re.search(r"[\s\"'<>]", address):
            return httpx2.Proxy(address)
    raise SettingsError(sentence("no_proxy_address", what=what, shown=shown))


def _without_credentials(address: str) -> str:
    scheme, mark, rest = address.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _is_exempt(url: httpx2.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names this address: by name, domain, address (each also with a port) or network."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    # urllib knows names, also with a port, and what Windows and macOS except. It doesn't know spaces between
    # names, as curl does, nor a * beside others.
    return bool(proxy_bypass(f"{host}:{port}")) or any(
        entry == "*" or f".{url.host}".endswith(f".{entry.strip('*.')}") or _is_in(url.host, entry)
        for entry in re.split(r"[\s,]+", no_proxy.lower())
    )


def _is_in(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


# The certificates


def _load_certificates() -> tuple[ssl.SSLContext, str]:
    """Return the certificates of SSL_CERT_FILE, else SSL_CERT_DIR, else the usual and this computer's own."""
    _check_key_log()
    file, folders = (os.environ.get(name, "").strip() for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if file:
        try:
            return ssl.create_default_context(cafile=file), f"{printable(file)} (SSL_CERT_FILE)"
        except OSError as error:
            no_pem = isinstance(error, ssl.SSLError)
            fault = "holds no certificates (PEM)" if no_pem else f"can't be read ({error.strerror})"
            raise _bad_certificates("SSL_CERT_FILE", file, fault) from error
    if folders:
        found = [Path(folder) for folder in folders.split(os.pathsep) if os.path.isdir(folder)]  # noqa: PTH112 - Path's own raises for a closed one
        if not any(_HASHED.fullmatch(path.name) for folder in found for path in folder.glob("*")):
            unhashed = "holds no certificates that OpenSSL finds (`openssl rehash` makes them so)"
            raise _bad_certificates("SSL_CERT_DIR", folders, unhashed if found else "isn't a directory")
        return ssl.create_default_context(capath=folders), f"{printable(folders)} (SSL_CERT_DIR)"
    # Windows' own list lacks what no program asked for yet, macOS' isn't OpenSSL's; an office adds its own.
    certificates = ssl.create_default_context(cafile=certifi.where())
    with suppress(ssl.SSLError):  # a damaged one in Windows' list
        certificates.load_default_certs()
    return certificates, "the usual ones and this computer's"


def _bad_certificates(variable: str, path: str, fault: str) -> SettingsError:
    return SettingsError(sentence("bad_certificates", variable=variable, path=printable(path), fault=fault))


def _check_key_log() -> None:
    """Raise SettingsError if SSLKEYLOGFILE can't be written: Python writes TLS keys there, and fails."""
    path = os.environ.get("SSLKEYLOGFILE", "")
    try:
        if path:
            Path(path).open("ab").close()
    except OSError as error:
        raise SettingsError(sentence("key_log", path=printable(path), why=error.strerror)) from error
