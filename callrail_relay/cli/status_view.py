"""
How all stands, for a person: the facts of the dashboard on a terminal.
"""

import json
import math
from collections.abc import Awaitable, Callable, Iterator

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from callrail_relay.cli.render import STYLES, console, local
from callrail_relay.clock import Clock
from callrail_relay.domain.budget import Window
from callrail_relay.domain.standing import Standing
from callrail_relay.service.operations import StatusReport
from callrail_relay.service.summary import for_a_person, summary

_GAUGE = 20
"""Characters of a full gauge."""

_TIGHT, _FULL = 0.7, 0.9
"""From which share of a budget on its gauge is yellow, and red."""

Read = Callable[[], Awaitable[StatusReport]]


def print_status(report: StatusReport) -> None:
    console().print(status_view(report))


def status_view(report: StatusReport) -> Group:
    """
    Whether all is well, budgets, pauses, what waits for a person, and the queue.
    """
    return Group(*_lines(report))


def _lines(report: StatusReport) -> Iterator[Text]:
    well = report.standings and not report.paused and for_a_person(report) is None
    yield Text(summary(report), style="bold green" if well else "bold yellow")
    for standing in report.standings:
        yield Text()
        yield from _standing_lines(standing)
    yield Text()
    counts = [
        Text.assemble((f"{count} ", "bold"), (status.value, STYLES[status]))
        for status, count in report.counts.items()
        if count
    ]
    yield Text(", ").join(counts) if counts else Text("No texts yet.")
    if for_a_person(report) is not None:
        yield Text("See them: callrail-relay messages list --status held --status unknown")
    if report.releasing:
        yield Text(f"{report.releasing} of the held leave by themselves, at the time that each one says.")
    if report.drains_at is not None:
        yield Text(f"The queue will be empty at {local(report.drains_at)}.")
    elif any(standing.pending for standing in report.standings):
        yield Text("The queue does not get shorter while an account is paused.")
    else:
        yield Text("The queue is empty.")


def _standing_lines(standing: Standing) -> Iterator[Text]:
    account = standing.account
    yield Text(account.id, style="bold")
    yield _window_line("hour", standing.hour)
    yield _window_line("day", standing.day)
    if account.paused_since is not None:
        yield Text(f"  paused since {local(account.paused_since)}: {account.paused_reason}", style="red")
    if account.wait_until is not None:
        yield Text(f"  waits until {local(account.wait_until)}: {account.wait_reason}", style="yellow")
    if standing.pending:
        waits = "segment waits" if standing.pending == 1 else "segments wait"
        yield Text(f"  {standing.pending} {waits} to leave")


def _window_line(name: str, window: Window) -> Text:
    share = min(1.0, window.used / window.allowed) if window.allowed else 1.0
    # Rounded down but for the first: a gauge is full when the budget is, and not empty when it is not.
    filled = max(math.floor(share * _GAUGE), 1 if window.used else 0)
    style = "red" if share >= _FULL else "yellow" if share >= _TIGHT else "green"
    room = f", room again at {local(window.free_at)}" if window.free_at else ""
    return Text.assemble(
        f"  {name:<5} ",
        ("█" * filled, style),
        ("░" * (_GAUGE - filled), "dim"),
        f" {window.used} of {window.allowed} used{room}",
    )


async def watch_status(read: Read, clock: Clock, *, as_json: bool) -> None:
    """
    Show the status again every second, until the task is cancelled; where nobody looks on, only what changed.

    As JSON each change is one line.
    """
    out = console()
    if as_json or not out.is_terminal:
        await _tell_changes(read, clock, out, as_json=as_json)
        return
    with Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(status_view(await read()), refresh=True)
            await clock.sleep(1)


async def _tell_changes(read: Read, clock: Clock, out: Console, *, as_json: bool) -> None:
    shown = None
    while True:
        report = await read()
        if report != shown:
            typer.echo(json.dumps(report.document(), ensure_ascii=False)) if as_json else out.print(
                status_view(report)
            )
            shown = report
        await clock.sleep(1)
