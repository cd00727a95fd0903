"""Showing values to a person: tables and sentences on a terminal, plain when piped."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text

from callrail_relay import sentences
from callrail_relay.domain.message import Message, Status
from callrail_relay.domain.printable import printable
from callrail_relay.sentences import explain, explain_all
from callrail_relay.service.health import RELAY, Condition, HealthReport

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


class _SafeConsole(Console):
    """
    A console that shows nothing raw that could steer the terminal, whatever is printed.

    The command ends by itself when its output is not read any more.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """
    Standard output, in which no text is taken for mark-up of Rich's.

    Lines are broken to the width of a terminal, and left whole for a program that reads them.
    """
    made = _SafeConsole(markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def safe(shown: str, style: str = "") -> Text:
    """Text from outside, made safe to show before Rich cuts it."""
    return Text(printable(shown), style)


def local(instant: datetime | None) -> str:
    """An instant by this machine's own clock, to the second."""
    return "-" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock_time(instant: datetime, now: datetime) -> str:
    """An instant as a person says it at *now*: 2:14 PM, or Nov 23 at 2:14 PM."""
    day, today = instant.astimezone().date(), now.astimezone().date()
    if day == today:
        return sentences.clock_time(instant)
    year = "" if day.year == today.year else f", {day.year}"
    return f"{day:%b} {day.day}{year} at {sentences.clock_time(instant)}"


def print_messages(messages: Sequence[Message]) -> None:
    """Each message in two or three lines, which fit 80 columns."""
    out = console()
    for message in messages:
        out.print(
            Text(f"{message.received_at.astimezone():%m-%d %H:%M:%S}  "),
            Text(f"{message.status:<9} ", style=STYLES[message.status]),
            safe(f"{message.recipient or '-':<12}  "),
            Text(message.id, style="dim"),
            sep="",
            soft_wrap=True,
        )
        out.print(safe(f"    {_shortened(message.text)}"))
        if message.reasons and message.status is not Status.SENT:
            _print_indented(out, safe(explain_all(message.reasons) or "", STYLES[message.status]))
    if not messages:
        out.print("No texts.")


def _print_indented(out: Console, shown: Text) -> None:
    """Each line of *shown* behind four spaces."""
    out.print(Text("    ").append(shown) if out.soft_wrap else Padding(shown, (0, 0, 0, 4)))


def _shortened(text: str | None) -> str:
    line = " ".join((text or "-").split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"


def print_message(message: Message) -> None:
    """One message with its whole way."""
    out = console()
    for name, value in _facts(message):
        out.print(Text(f"{name:<16}", style="bold"), safe(value), sep="")
    for decision in message.decisions:
        why = f": {decision.actor.note}" if decision.actor.note else ""
        over = f" (over {', '.join(decision.overridden)})" if decision.overridden else ""
        out.print(safe(f"{local(decision.decided_at)}  {decision.actor.name}: {decision.verb}{over}{why}"))
    for segment in message.segments:
        out.print()
        title = Text(f"Segment {segment.position} ", style="bold")
        out.print(title, Text(segment.status, style=STYLES[segment.status]), sep="")
        out.print(safe(segment.content))
        for attempt in segment.attempts:
            outcome = attempt.outcome or "under way"
            status = f" {attempt.http_status}" if attempt.http_status else ""
            out.print(safe(f"  {local(attempt.started_at)}  {outcome}{status}  {attempt.detail or ''}"))
            for learnt in attempt.evidence:
                out.print(safe(f"  {local(learnt.noted_at)}    {learnt.detail}", "dim"))
            if attempt.look_at is not None:
                out.print(Text(f"  {local(attempt.look_at)}    is looked up in CallRail", style="dim"))


def _facts(message: Message) -> Iterable[tuple[str, str]]:
    route = message.route
    yield "Id", message.id
    yield "Status", message.status
    for reason in message.reasons:
        yield "Reason", explain(reason)
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


def print_health(report: HealthReport) -> None:
    out = console()
    # Whether a relay is running comes first; the exit code follows from the order of the checks.
    for finding in sorted(report.findings, key=lambda finding: finding.name != RELAY):
        mark, style = _MARKS[finding.condition]
        name = Text(f"{finding.name}: ", style="bold")
        out.print(Text(f"{mark} ", style=style), name, safe(finding.detail), sep="")
