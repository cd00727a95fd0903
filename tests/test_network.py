"""
Proxies and certificates of real computers: they work, or the fault names the variable and hides its password.
"""

import asyncio
import gc
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trustme

from callrail_relay.errors import SettingsError
from callrail_relay.network import find_network
from tests.acceptance.program import Program

API = "https://api.example.invalid"
LIMITS = httpx2.Limits()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == "SSLKEYLOGFILE"]:
        monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy.invalid:3128"}, "http://proxy.invalid:3128"),
        (
            {"https_proxy": "proxy.invalid:3128", "HTTPS_PROXY": "other.invalid:1"},
            "http://proxy.invalid:3128",
        ),
        ({"Https_Proxy": "http://proxy.invalid:3128"}, "http://proxy.invalid:3128"),
        ({"ALL_PROXY": "socks5://u:p%40ss@proxy.invalid:1080"}, "socks5://proxy.invalid:1080"),
        ({"all_proxy": " socks5h://proxy.invalid\n"}, "socks5h://proxy.invalid"),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, "http://[::1]:3128"),
        # What desktops set: the one that has no say is not looked at.
        (
            {"HTTPS_PROXY": "http://proxy.invalid:1", "ALL_PROXY": "socks://127.0.0.1:2"},
            "http://proxy.invalid:1",
        ),
        ({"HTTP_PROXY": "socks://127.0.0.1:7890"}, None),
        ({"HTTPS_PROXY": "", "ALL_PROXY": ""}, None),
    ],
)
def test_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None
) -> None:
    """Small letters win over capitals, and a proxy without a scheme is an HTTP one."""
    set_all(monkeypatch, variables)

    found = find_network(API)

    assert proxy == (found.proxy and str(found.proxy.url))
    assert "p%40ss" not in found.words


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("ALL_PROXY", "socks://user:sesame@127.0.0.1:7890", "socks://127.0.0.1:7890"),
        ("all_proxy", "socks4://127.0.0.1:7890", "socks4://127.0.0.1:7890"),
        ("HTTPS_PROXY", "http://user:sesame@proxy.invalid:99999", "http://proxy.invalid:99999"),
        ("HTTPS_PROXY", "http://user:ses@ame@proxy.invalid:port", "http://proxy.invalid:port"),
        ("https_proxy", "'http://proxy.invalid:3128'", "'http://proxy.invalid:3128'"),
        ("HTTPS_PROXY", "http://", "http://"),
        ("HTTPS_PROXY", "http://[::1:3128", "http://[::1:3128"),
        ("HTTPS_PROXY", "http://proxy.invalid:0", "http://proxy.invalid:0"),
        ("HTTPS_PROXY", "http://pro xy\x1b[31m", r"http://pro xy\x1b[31m"),
        ("HTTPS_PROXY", "user:sesame@pro xy", "pro xy"),
    ],
)
def test_proxy_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, shown: str
) -> None:
    """The sentence has the variable, its value without the password, and what to write instead."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        find_network(API)

    words = str(caught.value)
    assert words.startswith(f"The environment variable {variable} is {shown}")
    assert "socks5://HOST:PORT" in words
    assert "sesame" not in words
    assert "ame@" not in words


@pytest.mark.parametrize(
    ("api_url", "no_proxy", "exempt"),
    [
        ("https://api.callrail.com", "callrail.com", True),
        ("https://api.callrail.com", ".CallRail.com", True),
        ("https://api.callrail.com", "*.callrail.com", True),
        ("https://api.callrail.com", "localhost, api.callrail.com:443", True),
        ("https://api.callrail.com", "*", True),
        ("https://api.callrail.com", "localhost .callrail.com 127.0.0.1", True),
        ("https://api.callrail.com", "localhost,*", True),
        ("https://api.callrail.com", "rail.com,10.0.0.0/8,::1,api.callrail.com:8443", False),
        ("https://10.1.2.3", "192.168.0.0/16,10.0.0.0/8", True),
        ("https://10.1.2.3:8443", "10.1.2.3:8443", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.5", "[fd00::5]", False),
        ("https://[fd00::5]", "fd00::/8", True),
        ("https://[fd00::5]", "[fd00::5]", True),
        ("https://[fd00::5]", "fd00:0:0::5", True),
        ("https://[fd00::5]:8443", "[fd00::5]:8443", True),
        ("https://[fd00::5]", "fe80::/10,not//a/network", False),
    ],
)
def test_no_proxy_names_hosts_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, api_url: str, no_proxy: str, *, exempt: bool
) -> None:
    """IPv6 with and without brackets, networks, ports and domains."""
    set_all(monkeypatch, {"HTTPS_PROXY": "http://proxy.invalid:3128", "NO_PROXY": no_proxy})

    assert exempt == (find_network(api_url).proxy is None)


def test_nothing_of_it_counts_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox on loopback is reached whatever the environment says."""
    broken = {"ALL_PROXY": "socks://x", "HTTP_PROXY": "?", "SSL_CERT_FILE": "/nonexistent.pem"}
    set_all(monkeypatch, broken | {"SSLKEYLOGFILE": "/nonexistent/keys"})

    assert find_network("http://127.0.0.1:8789").proxy is None


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("SSL_CERT_FILE", "/nonexistent.pem", "can't be read"),
        ("SSL_CERT_FILE", "{folder}", "can't be read"),
        ("SSL_CERT_FILE", "{folder}/empty.pem", "holds no certificates (PEM). Correct it, or unset it"),
        ("SSL_CERT_DIR", "/nonexistent", "isn't a directory"),
        ("SSL_CERT_DIR", "{folder}/empty.pem", "isn't a directory"),
        ("SSL_CERT_DIR", "{folder}", "rehash"),
        ("SSL_CERT_DIR", "/nonexistent{pathsep}{folder}", "rehash"),
        ("SSLKEYLOGFILE", "{folder}/none/keys", "can't be written"),
    ],
)
def test_missing_certificates_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, fault: str
) -> None:
    """An environment of conda that is gone, a directory, a file without certificates."""
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv(variable, value.format(folder=tmp_path, pathsep=os.pathsep))

    with pytest.raises(SettingsError, match="nset it") as caught:
        find_network(API)
    assert variable in str(caught.value)
    assert fault in str(caught.value)


def test_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By file or by directory, as OpenSSL names them."""
    pem = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "own.pem").write_text(pem, encoding="utf-8")
    (tmp_path / "abcdef01.0").write_text(pem, encoding="utf-8")

    monkeypatch.setenv("SSL_CERT_DIR", f"/nonexistent{os.pathsep}{tmp_path}")
    assert f"{tmp_path} (SSL_CERT_DIR)" in find_network(API).words
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    found = find_network(API)

    assert 1 == found.certificates.cert_store_stats()["x509"]
    assert "own.pem (SSL_CERT_FILE)" in found.words


@asynccontextmanager
async def proxy(*answers: bytes) -> AsyncIterator[int]:
    """A server that answers each piece that it reads with the next of *answers*."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(4096)
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.anyio
async def test_request_goes_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up by the proxy, and the password is given to it alone."""
    granted = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
    async with proxy(
        b"\x05\x02", b"\x01\x00", granted, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    ) as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5://user:word@127.0.0.1:{port}")
        network = find_network("http://api.example.invalid")
        async with httpx2.AsyncClient(transport=network.transport(LIMITS), trust_env=False) as client:
            answer = await client.get("http://api.example.invalid/")

    assert "ok" == answer.text


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05", b"\x05\xff"])
async def test_what_is_no_socks_proxy_gets_no_request(
    monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    """The fault is one of the proxy, which is known to have come before the request."""
    async with proxy(greeting) as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
        network = find_network("http://api.example.invalid")
        async with httpx2.AsyncClient(transport=network.transport(LIMITS), trust_env=False) as client:
            with pytest.raises(httpx2.ProxyError, match=rf"through the proxy socks5://127\.0\.0\.1:{port} "):
                await client.get("http://api.example.invalid/")
        gc.collect()  # httpcore2 leaves the connection to it


@pytest.mark.anyio
@pytest.mark.parametrize(
    "address", ["socks5://user:sesame@{}", "http://user:sesame@{}", "https://user:sesame@{}"]
)
async def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """It isn't CallRail that can't be reached, and without a proxy none is named."""
    monkeypatch.setenv("ALL_PROXY", address.format("127.0.0.1:9"))
    named = rf"through the proxy {address.format('127.0.0.1:9').replace('user:sesame@', '')} \(ALL_PROXY\)$"
    for url, words in (("http://api.example.invalid/", named), ("http://127.0.0.1:9/", "attempts failed$")):
        async with httpx2.AsyncClient(transport=find_network(url).transport(LIMITS)) as client:
            with pytest.raises(httpx2.ConnectError, match=words):
                await client.get(url)


@pytest.mark.parametrize(
    ("variable", "value"), [("ALL_PROXY", "socks://127.0.0.1:7890"), ("SSL_CERT_FILE", "/nonexistent.pem")]
)
@pytest.mark.parametrize(
    "command",
    [["serve", "--port", "0", "--no-dashboard"], ["send", "--to", "+12025550122", "--message", "x"]],
)
def test_commands_end_with_3_and_name_the_variable(command: list[str], variable: str, value: str) -> None:
    """Nothing is stored that could not be sent."""
    ended = run(*command, **{variable: value})

    assert 3 == ended.returncode, ended.stderr
    assert variable in ended.stderr


def test_doctor_shows_it_as_one_check_of_many() -> None:
    """The other checks run all the same."""
    ended = run("doctor", ALL_PROXY="socks://127.0.0.1:7890")

    failed = [line for line in ended.stdout.splitlines() if line.startswith("✗")]
    assert 3 == ended.returncode, ended.stdout
    [network] = [line for line in failed if line.startswith("✗ network: ")]
    assert "ALL_PROXY" in network
    assert "store:" in ended.stdout


def run(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    settings = {
        "CALLRAIL_API_KEY": "0123456789abcdef",
        "CALLRAIL_RELAY_HOOK_TOKEN": "a" * 43,
        "CALLRAIL_RELAY_CALLRAIL": '{"account_id": "ACC1", "company_id": "COM1", "tracking_number": '
        '"+12025550133", "accepted_terms": true, "api_url": "https://api.example.invalid"}',
    }
    return Program(os.environ | settings | variables, Path.cwd()).run(*command)
