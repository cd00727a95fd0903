"""
Showing values to a person: tables and sentences on a terminal, plain when piped.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from callrail_relay.clock import Clock
from callrail_relay.domain.message import Message, Status
from callrail_relay.domain.standing import Standing
from callrail_relay.service.health import Condition, HealthReport
from callrail_relay.service.operations import StatusReport

STYLES = {
    Status.HELD: "yellow",
    Status.QUEUED: "cyan",
    Status.SENDING: "cyan",
    Status.UNKNOWN: "bold magenta",
    Status.SENT: "green",
    Status.FAILED: "bold red",
    Status.CANCELLED: "dim",
}
_MARKS = {Condition.OK: ("✓", "green"), Condition.WARNING: ("!", "yellow"), Condition.FAILED: ("✗", "red")}
_LONGEST_TEXT = 76


class _PipedConsole(Console):
    """
    A console that leaves it to the command to end when nobody reads its output any more.
    """

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console() -> Console:
    """
    Standard output, with nothing in the words taken for a mark-up of Rich's.
    """
    return _PipedConsole(markup=False, highlight=False, emoji=False)


def print_json(document: object) -> None:
    """
    One JSON document on standard output.
    """
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def local(instant: datetime | None) -> str:
    """
    An instant by this machine's own clock, to the second.
    """
    return "-" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_messages(messages: Sequence[Message]) -> None:
    """
    Each message in two or three lines, which fit 80 columns.
    """
    console = _console()
    for message in messages:
        console.print(
            Text(f"{message.received_at.astimezone():%m-%d %H:%M:%S}  "),
            Text(f"{message.status:<9} ", style=STYLES[message.status]),
            Text(f"{message.recipient or '-':<12}  "),
            Text(message.id, style="dim"),
            sep="",
            soft_wrap=True,
        )
        console.print(Text(f"    {_shortened(message.text)}"))
        if message.reason and message.status is not Status.SENT:
            console.print(Padding(Text(message.reason, style=STYLES[message.status]), (0, 0, 0, 4)))
    if not messages:
        console.print("No texts.")


def _shortened(text: str | None) -> str:
    line = " ".join((text or "-").split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"


def print_message(message: Message) -> None:
    """
    One message with its whole way.
    """
    console = _console()
    for name, value in _facts(message):
        console.print(Text(f"{name:<16}", style="bold"), Text(value), sep="")
    for segment in message.segments:
        console.print()
        title = Text(f"Segment {segment.position} ", style="bold")
        console.print(title, Text(segment.status, style=STYLES[segment.status]), sep="")
        console.print(Text(segment.content))
        for attempt in segment.attempts:
            outcome = attempt.outcome or "under way"
            status = f" {attempt.http_status}" if attempt.http_status else ""
            console.print(Text(f"  {local(attempt.started_at)}  {outcome}{status}  {attempt.detail or ''}"))
            for learnt in attempt.evidence:
                console.print(Text(f"  {local(learnt.noted_at)}    {learnt.detail}", style="dim"))
            if attempt.look_at is not None:
                console.print(Text(f"  {local(attempt.look_at)}    is looked up in CallRail", style="dim"))


def _facts(message: Message) -> Iterable[tuple[str, str]]:
    route = message.route
    yield "Id", message.id
    yield "Status", message.status
    if message.reason:
        yield "Reason", message.reason
    yield "To", message.recipient or "-"
    yield "From", route.tracking_number if route else "-"
    yield "Account", f"{route.account_id}, company {route.company_id}" if route else "-"
    yield "Received", f"{local(message.received_at)} by {message.source}"
    yield "Sent", local(message.sent_at)
    for name, value in (
        ("Seller", message.seller),
        ("Opportunity", message.opportunity_id),
        ("Sender", message.sender_id),
        ("Team", message.team_id),
        ("Conversation", message.conversation_id),
    ):
        if value:
            yield name, value
    yield "Text", message.text or "-"


def print_status(report: StatusReport) -> None:
    _console().print(status_view(report))


def status_view(report: StatusReport) -> Group:
    """
    Budgets, pauses and the queue.
    """
    lines = [line for standing in report.standings for line in _standing_lines(standing)]
    if not report.standings:
        lines.append(Text("No account is set; run `callrail-relay configure`."))
    counts = [
        Text.assemble((f"{count} ", "bold"), (status.value, STYLES[status]))
        for status, count in report.counts.items()
        if count
    ]
    lines += [Text(), Text(", ").join(counts) if counts else Text("No texts yet.")]
    if report.drains_at is not None:
        lines.append(Text(f"The queue will be empty at {local(report.drains_at)}."))
    return Group(*lines)


def _standing_lines(standing: Standing) -> Iterator[Text]:
    account = standing.account
    yield Text(account.id, style="bold")
    for name, window in (("hour", standing.hour), ("day", standing.day)):
        full = f", room again at {local(window.free_at)}" if window.free_at else ""
        yield Text(f"  {name:<5} {window.used} of {window.allowed} used{full}")
    if account.paused_since is not None:
        yield Text(f"  paused since {local(account.paused_since)}: {account.paused_reason}", style="red")
    if account.wait_until is not None:
        yield Text(f"  waits until {local(account.wait_until)}: {account.wait_reason}", style="yellow")


async def watch_status(read: Callable[[], Awaitable[StatusReport]], clock: Clock) -> None:
    """
    Show the status again every second, until the person ends it with Ctrl-C.
    """
    console = _console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(status_view(await read()), refresh=True)
            await clock.sleep(1)


def print_health(report: HealthReport) -> None:
    console = _console()
    for finding in report.findings:
        mark, style = _MARKS[finding.condition]
        name = Text(f"{finding.name}: ", style="bold")
        console.print(Text(f"{mark} ", style=style), name, finding.detail, sep="")


def documents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.document() for message in messages]
