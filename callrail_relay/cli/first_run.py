"""The steps of ``configure`` on a terminal after the settings are saved: service, address, test text."""

from pathlib import Path

from callrail_relay.cli.console import ask, complain, has_terminal, opened_relay, say, sentence
from callrail_relay.cli.expose import bring_up, read_tunnel
from callrail_relay.cli.operate import read_status
from callrail_relay.cli.send import send
from callrail_relay.cli.service import offer
from callrail_relay.domain.public_url import BadPublicUrl, read_public_url
from callrail_relay.domain.tunnels import Kind
from callrail_relay.errors import RelayError

_STEPS = 5


def begin_step(number: int, title: str) -> None:
    """Say where a person is in the wizard."""
    if has_terminal():
        say(f"\nStep {number} of {_STEPS}: {title}")


async def lead_on(config: Path | None, *, has_address: bool) -> None:
    """Lead a person from saved settings to a relay that runs, is reachable, and has sent a text."""
    begin_step(3, sentence("step_service"))
    await offer(config)
    begin_step(4, sentence("step_address"))
    if not has_address:
        await _settle_address(config)
    begin_step(5, sentence("step_test"))
    await _send_test(config)
    await _show_checklist(config)


async def _settle_address(config: Path | None) -> None:
    """Ask for a public URL, or for the tunnel that makes one, until there is one or a person skips it."""
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.tunnels import find_program, save_public_url

    say(sentence("address"))
    while True:
        context = load_context(config)
        former = context.settings.server.public_url
        enter = sentence("enter_keeps" if former else "enter_skips", former=former)
        answer = ask(sentence("ask_address", enter=enter))
        if not answer:
            return
        try:
            if answer.lower() in (Kind.TAILSCALE, Kind.NGROK, Kind.CLOUDFLARED):
                kind = Kind(answer.lower())
                find_program(kind)
                host = None if kind is Kind.TAILSCALE else ask(sentence("ask_host", kind=kind))
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
    say(sentence("test"))
    while number := ask(sentence("ask_phone")):
        try:
            await send(to=number, message=sentence("test_text"), config=config)
        except RelayError as error:
            complain(str(error))
        else:
            return


async def _show_checklist(config: Path | None) -> None:
    """What of the first run is done, seen live, and what comes next."""
    from callrail_relay.cli.render import checklist_lines
    from callrail_relay.domain.checklist import checklist

    async with opened_relay(config) as relay:
        facts = (await read_status(relay)).facts
    if items := checklist(facts):
        say("\n".join(line.plain for line in checklist_lines(items)) + "\n")
