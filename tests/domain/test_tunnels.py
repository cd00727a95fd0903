"""What tunnel programs are told, and what their documented words mean."""

import pytest

from callrail_relay.domain.tunnels import WAYS, Kind, Tunnel, explain, find_address

LISTENER = "http://127.0.0.1:8787"
SSH = Tunnel(
    kind=Kind.SSH,
    program="ssh",
    address="https://texts.example.com",
    target="relay@vps.example.com",
    remote_port=8787,
)
CLOUDFLARED = Tunnel(
    kind=Kind.CLOUDFLARED, program="cloudflared", address="https://texts.example.com", target="office"
)
NGROK = Tunnel(kind=Kind.NGROK, program="ngrok", address="https://office.ngrok-free.app")
TAILSCALE = Tunnel(kind=Kind.TAILSCALE, program="tailscale", remote_port=443, target=LISTENER)
STARTED = (
    't=2026-11-29T09:12:44+0000 lvl=info msg="started tunnel" obj=tunnels name=command_line '
    "addr=http://127.0.0.1:8787 url=https://ab12-34-56.ngrok-free.app"
)


def told(tunnel: Tunnel, *, has_token: bool = False) -> str:
    return " ".join(WAYS[tunnel.kind].arguments(tunnel, LISTENER, has_token=has_token))


def test_only_the_public_listener_is_exposed() -> None:
    """To that server's own loopback, and to where the settings say the listener is."""
    assert told(SSH).endswith("-R 127.0.0.1:8787:127.0.0.1:8787 -- relay@vps.example.com")
    for option in (
        "ExitOnForwardFailure=yes",
        "BatchMode=yes",
        "ServerAliveInterval=15",
        "IdentityAgent=none",
    ):
        assert f"-o {option} " in told(SSH)
    assert "tunnel --no-autoupdate run --url http://127.0.0.1:8787 office" == told(CLOUDFLARED)
    assert "tunnel --no-autoupdate run" == told(CLOUDFLARED, has_token=True)
    assert f"--url=https://office.ngrok-free.app {LISTENER}" in told(NGROK)
    assert "--inspect=false" in told(NGROK)
    before = [" ".join(words) for words in WAYS[Kind.TAILSCALE].commands_before(TAILSCALE)]
    assert [f"funnel --bg --yes --https=443 {LISTENER}"] == before


def test_a_temporary_address_is_only_asked_for_when_none_is_named() -> None:
    quick = Tunnel(kind=Kind.CLOUDFLARED, program="cloudflared")
    assert f"tunnel --no-autoupdate --url {LISTENER}" == told(quick)
    assert "--url=" not in told(Tunnel(kind=Kind.NGROK, program="ngrok"))


def test_the_temporary_address_is_read_from_what_is_printed() -> None:
    """The newest one, and not the one of the program's own service."""
    lines = [
        'ERR failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": EOF',
        "INF |  https://old-words-here.trycloudflare.com  |",
        "INF |  https://quiet-river-1234.trycloudflare.com  |",
        "INF Registered tunnel connection",
    ]
    assert "https://quiet-river-1234.trycloudflare.com" == find_address(Kind.CLOUDFLARED, lines)
    assert find_address(Kind.CLOUDFLARED, lines[:1]) is None
    assert "https://ab12-34-56.ngrok-free.app" == find_address(Kind.NGROK, ["lvl=info", STARTED, ""])
    assert find_address(Kind.SSH, ["https://x.trycloudflare.com"]) is None


@pytest.mark.parametrize(
    ("tunnel", "words", "remedy"),
    [
        (SSH, "relay@vps: Permission denied (publickey).", "public key"),
        (SSH, "Host key verification failed.", "Run `ssh relay@vps.example.com` once"),
        (
            SSH,
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "another computer may be answering",
        ),
        (SSH, "Error: remote port forwarding failed for listen port 8787", "won't open port 8787"),
        (SSH, "ssh: Could not resolve hostname vps: Name or service not known", "Check the spelling"),
        (SSH, "ssh: connect to host vps port 22: Connection refused", "(Connection refused)"),
        (SSH, "Timeout, server vps not responding.", "Check that server"),
        (SSH, "something new", "Its last words: something new"),
        (SSH, "", "nothing"),
        (
            CLOUDFLARED,
            "ERR Cannot determine default origin certificate.\nError locating origin cert: client didn't",
            "cloudflared tunnel login",
        ),
        (CLOUDFLARED, "Provided Tunnel token is not valid.", "Copy the token again"),
        (
            CLOUDFLARED,
            "Failed to add route: code: 1003, reason: An A record with that host already exists.",
            "another entry for texts.example.com",
        ),
        (CLOUDFLARED, "tunnel credentials file '/x.json' doesn't exist or is not a file", "office"),
        (CLOUDFLARED, "429 Too Many Requests", "Wait a few minutes"),
        (CLOUDFLARED, "dial tcp: lookup api.trycloudflare.com: no such host", "port 7844"),
        (NGROK, "ERROR:  authentication failed\nERROR:  ERR_NGROK_4018", "add-authtoken"),
        (NGROK, "ERROR:  ERR_NGROK_108", "expose --off"),
        (NGROK, "ERROR:  ERR_NGROK_334", "Another ngrok has office.ngrok-free.app"),
        (NGROK, "ERROR:  ERR_NGROK_320", "isn't a domain of your ngrok account"),
        (NGROK, "ERROR:  ERR_NGROK_3200", "https://ngrok.com/docs/errors/ERR_NGROK_3200"),
        (
            TAILSCALE,
            "Funnel is not enabled.\nTo enable, visit:\n\n  https://login.tailscale.com/f/funnel?node=nho4CNTRL\n",
            "Open https://login.tailscale.com/f/funnel?node=nho4CNTRL,",
        ),
        (TAILSCALE, '{"BackendState": "NeedsLogin"}', "tailscale up"),
        (TAILSCALE, '{\n  "BackendState": "Stopped",', "switched off"),
        (TAILSCALE, "failed to connect to local tailscaled; it doesn't appear to be running", "Start it"),
        (TAILSCALE, "Access denied: serve config denied", "--operator=$USER"),
        (
            TAILSCALE,
            "updating config: Unable to turn on Funnel while shields-up is enabled",
            "shields-up=false",
        ),
        (TAILSCALE, "error: Funnel not available; HTTPS must be enabled.", "MagicDNS and HTTPS"),
    ],
)
def test_what_a_program_says_becomes_a_sentence_with_its_remedy(
    tunnel: Tunnel, words: str, remedy: str
) -> None:
    said = explain(tunnel, words.split("\n"))

    assert remedy in said
    assert "\n" not in said
    assert "{" not in said
