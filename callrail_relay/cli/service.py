"""``service``: ``serve`` starts with the computer, and again after a crash."""

import signal
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from itertools import chain
from typing import TYPE_CHECKING, Literal

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import command, given, say, sentence, show
from callrail_relay.clock import SystemClock
from callrail_relay.domain.message import as_json
from callrail_relay.errors import NotFound, RelayError, Unavailable, UsageError
from callrail_relay.sentences import local

if TYPE_CHECKING:
    from callrail_relay.bootstrap.service_setup import Kind, Needs, ServiceState

KindName = Literal["systemd", "systemd-system", "launchd", "windows"]

app = typer.Typer(no_args_is_help=True, help="Run the relay with this computer.")


@command(app, "service install")
async def install(
    *, system: bool = False, show_only: bool = False, kind: KindName | None = None, yes: bool = False
) -> None:
    from callrail_relay.bootstrap import service_setup

    if kind is not None and not show_only:
        raise UsageError(sentence("kind_alone"))
    chosen = service_setup.Kind(kind) if kind else service_setup.find_kind(system=system)
    if show_only:
        text = service_setup.printed(chosen, given.config)
        show({"kind": chosen, "text": text}, text.rstrip("\n"))
        return
    wrote, fault = await _install(chosen, yes=yes)
    if given.as_json or fault is None:
        state = service_setup.read_state(chosen, given.config)
        show({**as_json(state), "wrote": wrote}, sentence("service_installed"))
    if fault is not None:
        raise Unavailable(sentence("installed_fault", fault=fault))


async def _install(kind: "Kind", *, yes: bool) -> tuple[list[str], str | None]:
    """Ask what must be asked, and install; return what was written, and why it doesn't answer."""
    from callrail_relay.bootstrap import service_setup

    is_system = kind == "systemd-system"
    service_setup.find_manager(kind).require()
    if is_system:
        service_setup.require_program_for_all()
    context = service_setup.load_for(kind, given.config)
    needs = await service_setup.find_needs(context, kind)
    _ask(needs, yes=yes)
    with console.working(sentence("installing")):
        wrote, warning, fault = await service_setup.install(context, kind, needs)
    for line in (*wrote, *([f"Warning: {warning}"] if warning else ())):
        say(line)
    if is_system:
        variables = " ".join(map("=".join, service_setup.system_variables().items()))
        say(sentence("run_as_root", variables=variables))
    return wrote, fault


def _ask(needs: "Needs", *, yes: bool) -> None:
    """Name what has to be stored, and have it allowed; otherwise end the command."""
    for line in needs.lost:
        say(f"Warning: {line}")
    refused = sentence("not_installed_without")
    if needs.outside:
        say(sentence("only_here", names=", ".join(needs.outside)))
        console.require_yes(sentence("store_that"), refused, yes=yes)
    if needs.locked:
        say(sentence("keyring_locked", names=", ".join(needs.locked)))
        console.require_yes(sentence("move_that"), refused, yes=yes)


@command(app, "service uninstall")
async def uninstall(system: bool = False, yes: bool = False) -> None:
    from callrail_relay.bootstrap import service_setup

    service = service_setup.find_installed(system=system)
    if service is None:
        raise NotFound(sentence("no_service"))
    more = f" and {service_setup.SYSTEM_CONFIG.parent}" if service.kind == "systemd-system" else ""
    console.require_yes(sentence("remove_service", path=service.path, more=more), yes=yes)
    with console.working(sentence("stopping")):
        removed = service_setup.uninstall(service.kind)
    for path in () if given.as_json else removed:
        say(f"Removed {path}.")
    show({"removed": removed}, sentence("service_removed"))


@command(app, "service status")
async def status(system: bool = False) -> int:
    from callrail_relay.bootstrap import service_setup

    state = service_setup.read_state(service_setup.find_kind(system=system or None), given.config)
    show(as_json(state), _sentence(state))
    if state.running:
        return 0
    return Unavailable.exit_code if state.installed else NotFound.exit_code


def _sentence(state: "ServiceState") -> str:
    if not state.installed:
        return sentence("not_installed")
    if not state.running:
        return sentence("not_running", path=state.path)
    since = "" if state.since is None else f" since {local(state.since)}"
    later = "" if state.enabled else sentence("service_by_hand")
    return sentence("service_running", since=since, path=state.path, later=later)


@command(app, "service logs")
async def logs(lines: int = 50, follow: bool = False, system: bool = False) -> None:
    from callrail_relay.bootstrap import service_setup

    if follow and given.as_json:
        raise UsageError(sentence("follow_json"))
    kind = service_setup.find_kind(system=system or None)
    manager = service_setup.find_manager(kind)
    if given.as_json:
        console.print_json(list(manager.logs(lines, follow=False)))
        return
    if follow:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's would wait for the next line
    found = manager.logs(lines, follow=follow)
    first = next(found, None)
    if first is None:
        if lines:
            say(sentence("no_log"))
    elif sys.stdout.isatty():
        await _narrate(chain((first,), found), kind)
    else:
        for line in chain((first,), found):
            console.echo(line)


async def _narrate(lines: Iterable[str], kind: "Kind") -> None:
    """Show the log as ``serve`` does on a terminal, with people's names if the store can be read."""
    from callrail_relay.bootstrap import service_setup
    from callrail_relay.cli.render import narrate_log

    find = None
    async with AsyncExitStack() as stack:
        if service_setup.find_manager(kind).state().installed:
            with suppress(RelayError):
                service_setup.load_for(kind, given.config)
                find = (await stack.enter_async_context(console.opened_relay())).operations.find
        await narrate_log(lines, find, SystemClock().now)


@command(app, "service restart")
async def restart(system: bool = False) -> None:
    from callrail_relay.bootstrap import service_setup

    if (service := service_setup.find_installed(system=system)) is None:
        raise NotFound(sentence("not_installed"))
    with console.working(sentence("restarting")):
        state, fault = await service_setup.restart(service.kind, given.config)
    if fault is not None:
        raise Unavailable(sentence("restarted_fault", fault=fault))
    show(as_json(state), sentence("service_runs"))


async def offer() -> None:
    """Ask a person who sets up the relay whether to install the service, if it's possible and missing."""
    from callrail_relay.bootstrap import service_setup

    later = sentence("serve_instead")
    try:
        kind = service_setup.find_kind(system=False)
        manager = service_setup.find_manager(kind)
        manager.require()
    except Unavailable as error:
        say(sentence("no_service_possible", error=error, later=later))
        return
    if manager.state().installed:
        say(sentence("service_there"))
    elif not console.confirmed(sentence("as_service")):
        say(later)
    else:
        try:
            _, fault = await _install(kind, yes=False)
        except RelayError as error:  # the relay itself is set up
            console.complain(str(error))
        else:
            say(fault or sentence("service_runs"))
