"""How the relay is doing, for a person: the facts of the dashboard on a terminal."""

import math
from collections.abc import Awaitable, Callable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from callrail_relay.cli.console import echo, json_text
from callrail_relay.cli.render import STYLES, clock_time, console, local, safe
from callrail_relay.clock import Clock
from callrail_relay.domain.account import Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Code, Facts, Level, Point, judge
from callrail_relay.domain.message import Reason
from callrail_relay.sentences import explain
from callrail_relay.service.operations import StatusReport

_GAUGE = 20
"""Characters of a full gauge."""

_TIGHT, _FULL = 0.7, 0.9
"""From which share of a budget on its gauge is yellow, and red."""

_LEVEL_STYLES = {Level.BAD: "red", Level.ASK: "yellow", Level.NOTE: "yellow", Level.WELL: "green"}

Read = Callable[[], Awaitable[StatusReport]]


def print_status(report: StatusReport) -> None:
    console().print(status_view(report))


def status_view(report: StatusReport) -> Group:
    """The verdict, whether a relay is running, budgets, pauses, and the queue."""
    return Group(*_lines(report))


def _lines(report: StatusReport) -> Iterator[Text]:
    facts = report.facts
    head, *others = judge(facts)
    yield Text(sentence(head, facts), style=f"bold {_LEVEL_STYLES[head.level]}")
    for point in others:
        yield Text(sentence(point, facts), style=_LEVEL_STYLES[point.level])
    yield from _running_lines(facts)
    for standing in facts.standings:
        yield Text()
        yield from _standing_lines(standing)
    yield Text()
    counts = [
        Text.assemble((f"{count} ", "bold"), (status.value, STYLES[status]))
        for status, count in report.counts.items()
        if count
    ]
    yield Text(", ").join(counts) if counts else Text("No texts yet.")
    yield Text(_queue_words(facts))


SENTENCES = {
    Code.NOT_SET_UP: "Nothing is set up yet. Run `callrail-relay configure`.",
    Code.NOT_RUNNING: (
        "No relay is running, so no messages are received or sent. Start it with `callrail-relay serve`."
    ),
    Code.CHECK_FAILED: "Problem with {name}: {detail}",
    Code.PAUSED: (
        "Sending{whose} is paused. New messages are saved and go out after `callrail-relay resume`."
    ),
    Code.UNREACHABLE: (
        "Problem: no connection to CallRail{whose}. Messages are saved, and the relay keeps trying. "
        "`callrail-relay doctor` shows why."
    ),
    Code.NOT_REACHABLE_FROM_OUTSIDE: "Problem with the public URL: {detail}",
    Code.PUBLIC_URL_UNCHECKED: "The public URL {name} isn't confirmed yet. {detail}",
    Code.NEEDS_REVIEW: (
        "{messages} {need} your review. See `callrail-relay messages list --status held --status unknown "
        "--status failed`."
    ),
    Code.WAITS: "Sending{whose} waits until {time}. {detail}",
    Code.DAY_FULL: "Daily limit{whose} reached ({count:,}). Sending resumes {at}.",
    Code.HOUR_FULL: "Hourly limit{whose} reached ({count:,}). Sending resumes {at}.",
    Code.NOT_CONNECTED: "Connecting to CallRail{whose}: it hasn't answered yet.",
    Code.LOOKED_UP: "Checking with CallRail whether {messages} went out. No action needed yet.",
    Code.SCHEDULED: "{messages} scheduled for the morning (quiet hours).",
    Code.WELL: "All is well.",
}


def sentence(point: Point, facts: Facts) -> str:
    """A point of the verdict as a sentence, with what to do about it."""
    time = "" if point.at is None else clock_time(point.at, facts.now)
    return (
        SENTENCES[point.code]
        .format(
            name=point.name,
            detail=point.detail or _why(point.reason),
            count=point.count,
            messages=f"{point.count:,} message{'' if point.count == 1 else 's'}",
            need="needs" if point.count == 1 else "need",
            whose="" if len(facts.standings) == 1 else f" from account {point.account_id}",
            time=time,
            at=f"on {time}" if " at " in time else f"at {time}",
        )
        .strip()
    )


def _why(reason: Reason | None) -> str:
    return "" if reason is None else explain(reason)


def _running_lines(facts: Facts) -> Iterator[Text]:
    several = len(facts.running.nodes) > 1
    for node in facts.running.nodes:
        name = f"{node.name}: running" if several else "Running"
        yield Text(name if node.since is None else f"{name} since {clock_time(node.since, facts.now)}.")


def _queue_words(facts: Facts) -> str:
    if facts.drains_at is not None:
        return f"The queue will be empty at {local(facts.drains_at)}."
    if not any(standing.pending for standing in facts.standings):
        return "The queue is empty."
    if not facts.running:
        return "The queue doesn't get shorter while no relay is running."
    if any(standing.pending and standing.account.paused_since is not None for standing in facts.standings):
        return "The queue doesn't get shorter while an account is paused."
    return "The queue doesn't get shorter until CallRail can be reached."


def _standing_lines(standing: AccountStatus) -> Iterator[Text]:
    account = standing.account
    yield safe(account.id, "bold")
    yield _window_line("hour", standing.hour)
    yield _window_line("day", standing.day)
    if account.paused_since is not None:
        yield safe(f"  paused since {local(account.paused_since)}: {_why(account.paused_reason)}", "red")
    if account.wait_until is not None:
        yield safe(f"  waits until {local(account.wait_until)}: {_why(account.wait_reason)}", "yellow")
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
    Show the status again every second, until the task is cancelled; without a terminal, only what changed.

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
        # Compared as it is shown: the time of the look alone is no change.
        text = _as_text(report, out, as_json=as_json)
        if text != shown:
            echo(text)
            shown = text
        await clock.sleep(1)


def _as_text(report: StatusReport, out: Console, *, as_json: bool) -> str:
    if as_json:
        return json_text(report.document())
    with out.capture() as captured:
        out.print(status_view(report), end="")
    return captured.get().rstrip("\n")
