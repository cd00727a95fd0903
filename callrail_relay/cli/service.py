"""``service``: ``serve`` starts with the computer, and again after a crash."""

import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import Config, Json, Yes, command, say, sentence, show
from callrail_relay.errors import NotFound, RelayError, Unavailable, UsageError

if TYPE_CHECKING:
    from callrail_relay.bootstrap.service_setup import Kind, Needs, ServiceState

app = typer.Typer(no_args_is_help=True, help="Run the relay with this computer.")

System = Annotated[bool, typer.Option("--system", help="Linux: the hardened service of the whole system.")]
Print = Annotated[bool, typer.Option("--print", help="Print what would be installed; change nothing.")]
KindName = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="With --print: for another system."),
]


@command(app, "install")
async def install(
    *,
    system: System = False,
    show_only: Print = False,
    kind: KindName = None,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Start the relay with this computer.

    It installs a systemd unit, a LaunchAgent or a Windows task, starts it, and
    checks that it answers. With --system, settings and secrets are copied to
    /etc/callrail-relay, and the data moves to /var/lib/callrail-relay.

    Example:
    $ callrail-relay service install
    $ sudo /opt/callrail-relay/bin/callrail-relay service install --system
    $ callrail-relay service install --print --kind launchd
    """
    from callrail_relay.bootstrap import service_setup

    if kind is not None and not show_only:
        raise UsageError(sentence("kind_alone"))
    chosen = service_setup.find_kind(system=system, name=kind)
    if show_only:
        text = service_setup.printed(chosen, config)
        show({"kind": chosen, "text": text}, text.rstrip("\n"), as_json=as_json)
        return
    wrote, fault = await _install(chosen, config, yes=yes)
    if as_json:
        state = service_setup.read_state(chosen, service_setup.load_for(chosen, config))
        console.print_json({**_document(state), "wrote": wrote})
    if fault is not None:
        raise Unavailable(sentence("service_silent", fault=fault))
    if not as_json:
        console.echo(sentence("service_installed"))


async def _install(kind: "Kind", config: Path | None, *, yes: bool) -> tuple[list[str], str | None]:
    """Ask what has to be asked, and install; returns what was written, and why it doesn't answer."""
    from callrail_relay.bootstrap import service_setup, system_service

    is_system = kind == "systemd-system"
    service_setup.find_manager(kind).require()
    if is_system:
        system_service.require_program_for_all()
    context = service_setup.load_for(kind, config)
    needs = await service_setup.find_needs(context, kind)
    _ask(needs, yes=yes)
    wrote, warning, fault = await service_setup.install(context, kind, needs)
    for line in (*wrote, *([f"Warning: {warning}"] if warning else ())):
        say(line)
    if is_system:
        variables = " ".join(map("=".join, system_service.variables().items()))
        say(sentence("run_as_root", variables=variables))
    return wrote, fault


def _ask(needs: "Needs", *, yes: bool) -> None:
    """Name what has to be stored, and have it allowed; else the command ends."""
    for line in needs.lost:
        say(f"Warning: {line}")
    questions = []
    if needs.outside:
        say(sentence("only_here", names=", ".join(needs.outside)))
        questions.append(sentence("store_that"))
    if needs.locked:
        say(sentence("keyring_locked", names=", ".join(needs.locked)))
        questions.append(sentence("move_that"))
    for question in questions:
        if not console.confirmed(question, yes=yes):
            say(sentence("not_installed_without"))
            raise typer.Exit


@command(app, "uninstall")
async def uninstall(
    system: System = False,
    yes: Yes = False,
    config: Config = None,  # noqa: ARG001 - every command takes it
    as_json: Json = False,
) -> None:
    """
    Remove the service; your texts stay.

    With --system it also removes /etc/callrail-relay, which holds the settings
    and secrets of the service. Until IF3 has another URL, its texts are lost.

    Example:
    $ callrail-relay service uninstall
    """
    from callrail_relay.bootstrap import service_setup, system_service

    kind = service_setup.find_kind(system=system or None)
    state = service_setup.read_state(kind, None)
    if not state.installed:
        raise NotFound(sentence("no_service"))
    more = f" and {system_service.config_file().parent}" if kind == "systemd-system" else ""
    if not console.confirmed(sentence("remove_service", path=state.path, more=more), yes=yes):
        return
    removed = service_setup.uninstall(kind)
    for path in () if as_json else removed:
        say(f"Removed {path}.")
    show({"removed": removed}, sentence("service_removed"), as_json=as_json)


@command(app, "status")
async def status(system: System = False, config: Config = None, as_json: Json = False) -> int:
    """
    Show whether the service is running.

    Ends with 0 if it's running, 8 if it's installed but not running, and 4 if
    it isn't installed.

    Example:
    $ callrail-relay service status
    """
    from callrail_relay.bootstrap import service_setup
    from callrail_relay.bootstrap.context import load_context

    kind = service_setup.find_kind(system=system or None)
    context = None
    with suppress(RelayError):  # the service may still run with what it has read
        context = load_context(config) if kind != "systemd-system" else None
    state = service_setup.read_state(kind, context)
    show(_document(state), _sentence(state), as_json=as_json)
    if state.running:
        return 0
    return Unavailable.exit_code if state.installed else NotFound.exit_code


def _document(state: "ServiceState") -> dict[str, object]:
    return asdict(state) | {"since": state.since and state.since.isoformat()}


def _sentence(state: "ServiceState") -> str:
    from callrail_relay.cli.render import local

    if not state.installed:
        return sentence("not_installed")
    if not state.running:
        return sentence("service_stopped", path=state.path)
    since = "" if state.since is None else f" since {local(state.since)}"
    later = "" if state.enabled else sentence("service_by_hand")
    return sentence("service_running", since=since, path=state.path, later=later)


@command(app, "logs")
async def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until Ctrl-C.")] = False,
    system: System = False,
    config: Config = None,  # noqa: ARG001 - every command takes it
    as_json: Json = False,
) -> None:
    """
    Show the log of the service.

    Example:
    $ callrail-relay service logs
    $ callrail-relay service logs --follow
    """
    from callrail_relay.bootstrap import service_setup

    if follow and as_json:
        raise UsageError(sentence("follow_json"))
    manager = service_setup.find_manager(service_setup.find_kind(system=system or None))
    if follow:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's would wait for the next line
    found = False
    if as_json:
        console.print_json(list(manager.logs(lines, follow=False)))
        return
    for line in manager.logs(lines, follow=follow):
        console.echo(line)
        found = True
    if lines and not found:
        say(sentence("no_log"))


@command(app, "restart")
async def restart(system: System = False, config: Config = None, as_json: Json = False) -> None:
    """
    Restart the service after a change.

    Example:
    $ callrail-relay service restart
    """
    from callrail_relay.bootstrap import service_setup

    kind = service_setup.find_kind(system=system or None)
    if not service_setup.read_state(kind, None).installed:
        raise NotFound(sentence("not_installed"))
    state, fault = await service_setup.restart(kind, config)
    if fault is not None:
        raise Unavailable(sentence("service_restarted", fault=fault))
    show(_document(state), sentence("service_runs"), as_json=as_json)


async def offer(config: Path | None) -> None:
    """Ask a person who sets up the relay whether to install the service, if there isn't one and can be."""
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
    elif not console.confirmed(sentence("as_service"), yes=False):
        say(later)
    else:
        try:
            _, fault = await _install(kind, config, yes=False)
        except RelayError as error:  # the relay itself is set up
            console.complain(str(error))
        else:
            say(fault or sentence("service_runs"))
