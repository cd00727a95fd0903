"""Public URLs: which can be right, and what is said of the others."""

import pytest

from callrail_relay.domain.public_url import proves_nothing, read_public_url
from callrail_relay.errors import SettingsError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://texts.example.com", "https://texts.example.com"),
        ("  https://texts.example.com//  ", "https://texts.example.com"),
        ("HTTPS://Texts.Example.com:8443/", "https://texts.example.com:8443"),
        ("https://relay.tail1234.ts.net", "https://relay.tail1234.ts.net"),
        ("https://8.8.8.8", "https://8.8.8.8"),
        ("https://[2606:4700::1111]:8443", "https://[2606:4700::1111]:8443"),
        ("https://büro.example", "https://büro.example"),
    ],
)
def test_public_addresses_are_kept(given: str, kept: str) -> None:
    """Without white space, capitals in the name, or a slash at the end."""
    assert kept == read_public_url(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "isn't a web address"),
        ("texts.example.com", "https://texts.example.com"),
        ("ftp://texts.example.com", "isn't a web address"),
        ("https://", "isn't a web address"),
        ("https://texts example.com", "isn't a web address"),
        ("https://texts.example.com:99999", "isn't a URL"),
        ("https://[::1", "isn't a URL"),
        ("https://-x.example.com", "isn't a host name"),
        ("https://texts.example.c\x1bom", "isn't a host name"),
        ("http://texts.example.com", "Write https://texts.example.com"),
        ("http://texts.example.com:8080", "Write https://texts.example.com"),
        ("https://localhost", "only to this computer"),
        ("https://LOCALHOST.:8787", "only to this computer"),
        ("https://a.localhost", "only to this computer"),
        ("http://127.0.0.1:8787", "only to this computer"),
        ("https://127.9.9.9", "only to this computer"),
        ("https://[::1]", "only to this computer"),
        ("https://127.1", "isn't a host name"),
        ("https://2130706433", "isn't a host name"),
        ("https://0.0.0.0", "only in your own network"),
        ("https://10.1.2.3", "only in your own network"),
        ("https://172.31.0.1", "only in your own network"),
        ("https://192.168.1.20:8787", "only in your own network"),
        ("https://169.254.1.1", "only in your own network"),
        ("https://100.101.102.103", "only in your own network"),
        ("https://[fd00::1]", "only in your own network"),
        ("https://[fe80::1]", "only in your own network"),
        ("https://[::ffff:10.0.0.1]", "only in your own network"),
        ("https://office", "only in your own network"),
        ("https://office.local", "only in your own network"),
        ("https://nas.lan", "only in your own network"),
        ("https://relay.home.arpa", "only in your own network"),
        ("https://texts.example.com/hooks/if3/SECRET", "Give only its beginning: https://texts.example.com"),
        ("https://texts.example.com/relay", "without a path"),
        ("https://me:SECRET@texts.example.com", "without a path, a user name"),
        ("https://texts.example.com/?key=SECRET", "https://texts.example.com"),
        ("https://texts.example.com#SECRET", "https://texts.example.com"),
    ],
)
def test_what_cannot_be_right_is_told_with_the_right_form(given: str, words: str) -> None:
    """What may be secret in it is not repeated."""
    with pytest.raises(SettingsError) as caught:
        read_public_url(given)

    assert words in str(caught.value)
    assert "https://" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ((), None),
        (("8.8.8.8", "2606:4700::1111"), None),
        (("100.64.3.2",), "Tailscale"),
        (("8.8.8.8", "192.168.0.4"), "private address here (192.168.0.4)"),
        (("127.0.0.1",), "private address"),
        (("fd7a:115c:a1e0::1",), "private address"),
    ],
)
def test_a_name_that_leads_inside_proves_nothing(addresses: tuple[str, ...], words: str | None) -> None:
    why = proves_nothing(addresses)

    assert why is None if words is None else words in str(why)
