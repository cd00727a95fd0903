"""The steps of ``configure`` on a terminal after the settings are saved: service, address, test text."""

from pathlib import Path

from callrail_relay.cli.console import ask, complain, has_terminal, say
from callrail_relay.cli.expose import bring_up, read_tunnel
from callrail_relay.cli.send import send
from callrail_relay.cli.service import offer
from callrail_relay.domain.public_url import BadPublicUrl, read_public_url
from callrail_relay.domain.tunnels import Kind
from callrail_relay.errors import RelayError

_STEPS = 5
UNPROVEN = (
    "Whether this API key may send cannot be seen without sending: keys are read-only until CallRail gives "
    "them write access. Ask CallRail's support for it if that is not done; `callrail-relay send` to your own "
    "phone proves it."
)
NEXT = "Next: start the relay with `callrail-relay serve`. Then `callrail-relay doctor` checks your setup."
_TEST_TEXT = "This is a test from callrail-relay. Texts go out."


def begin_step(number: int, title: str) -> None:
    """Say where a person is in the wizard."""
    if has_terminal():
        say(f"\nStep {number} of {_STEPS}: {title}")


async def lead_on(config: Path | None, *, has_address: bool) -> None:
    """Lead a person from saved settings to a relay that runs, is reachable, and has sent a text."""
    begin_step(3, "Keep the relay running")
    await offer(config)
    begin_step(4, "A public address, for IF3")
    if not has_address:
        await _settle_address(config)
    begin_step(5, "A test text, then IF3")
    await _send_test(config)


async def _settle_address(config: Path | None) -> None:
    """Ask for a public URL, or for the tunnel that makes one, until there is one or a person skips it."""
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.tunnels import find_program, save_public_url

    say("IF3 needs an https address that leads to this computer: your own, or one of a tunnel program.")
    while True:
        context = load_context(config)
        former = context.settings.server.public_url
        answer = ask(
            "Public URL, or tailscale, ngrok or cloudflared; "
            + (f"Enter keeps {former}" if former else "Enter to skip")
        )
        if not answer:
            return
        try:
            if answer.lower() in (Kind.TAILSCALE, Kind.NGROK, Kind.CLOUDFLARED):
                kind = Kind(answer.lower())
                find_program(kind)
                host = (
                    None if kind is Kind.TAILSCALE else ask(f"Your host name at {kind}, as texts.example.com")
                )
                _, words = await bring_up(context, read_tunnel(kind, host or None))
                say(words)
            else:
                save_public_url(context, read_public_url(answer))
        except (BadPublicUrl, RelayError) as error:
            complain(str(error))
        else:
            return


async def _send_test(config: Path | None) -> None:
    """Send a text to the person's own phone: nothing else proves that the API key may send."""
    say("Only a text proves that the API key may send: it is read-only until CallRail gives it write access.")
    while number := ask("Your own cell phone, for a test text; Enter to skip"):
        try:
            await send(to=number, message=_TEST_TEXT, config=config)
        except RelayError as error:
            complain(str(error))
        else:
            return
