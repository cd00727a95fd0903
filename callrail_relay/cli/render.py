"""Shows values and events to a person: tables and sentences on a terminal, plain when piped."""

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from callrail_relay import sentences
from callrail_relay.cli.console import WORDS, echo, given, json_text, split_remedy
from callrail_relay.clock import Clock, SystemClock
from callrail_relay.domain import events
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Item, checklist, judge, most_pressing
from callrail_relay.domain.message import Attempt, Message, Reason, Status
from callrail_relay.domain.printable import printable, shortened
from callrail_relay.errors import RelayError
from callrail_relay.sentences import MOST_SHOWN, at, explain, explain_all, local, plural, says, when
from callrail_relay.service.health import RELAY, HealthReport
from callrail_relay.service.operations import StatusReport

STYLES: dict[str, str] = WORDS["styles"]
_PLAIN = str.maketrans("✓✗█░…“”\u2019", '+x#.~""\'')
_TIME_WIDTH = 19  # of a date and a time to the second
_MARKS: dict[str, tuple[str, str]] = WORDS["marks"]
SHORT_ID = 8  # characters of an id's end that a table shows
_WIDE = 100  # columns of a terminal with room for people's names in a table
_LONGEST_NAME = 20
_GAUGE = 20  # characters of a full gauge
_TIGHT, _FULL = 0.7, 0.9  # the shares of a budget at which its gauge turns yellow and red
_LEVEL_STYLES: dict[str, str] = WORDS["levels"]


class _SafeConsole(Console):
    """Shows nothing raw that could control the terminal; ends the command if nobody reads its output."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = printable(segment.text)
            if not self.encoding.startswith("utf"):  # a terminal with another character set
                text = text.translate(_PLAIN)
            yield segment if segment.control else Segment(text, segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Standard output or error without markup: lines wrap on a terminal, and stay whole for a program."""
    made = _SafeConsole(stderr=stderr, markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def safe(shown: str, style: str = "") -> Text:
    """Return text from outside, made safe before Rich cuts it."""
    return Text(printable(shown), style)


def print_messages(messages: Sequence[Message]) -> None:
    """Print a table for a person, with short ids; for a program a line per message, with tabs."""
    out = console()
    if not messages:
        out.print("No texts.")
        return
    if out.soft_wrap:
        for message in messages:
            why = (message.status is not Status.SENT and explain_all(message.reasons, message.status)) or ""
            row = (message.id, local(message.received_at), message.status, message.recipient or "-")
            echo("\t".join(" ".join(cell.split()) for cell in (*row, message.text or "-", why)))
        return
    today, wide = SystemClock().now().astimezone().date(), out.width >= _WIDE
    names = ("Id", "Received", "Status", "To", *(["Name"] if wide else []), "Text")
    table = Table(*names, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[0].min_width = SHORT_ID  # a cut one can't be given to a command
    for message in messages:
        at = message.received_at.astimezone()
        day = "" if at.date() == today else f"{at.month}/{at.day} "
        line = printable(shortened(message.text or "-", 200))
        text: RenderableType = Text(line, no_wrap=True, overflow="ellipsis")
        if message.reasons and message.status is not Status.SENT:
            text = Group(text, safe(" ".join(map(says, message.reasons)), STYLES[message.status]))
        table.add_row(
            Text(message.id[-SHORT_ID:], style="cyan"),
            day + sentences.clock_time(at),
            Text(message.status, style=STYLES[message.status]),
            safe(sentences.phone(message.recipient)),
            *([safe(shortened(message.seller or "-", _LONGEST_NAME))] if wide else []),
            text,
        )
    out.print(table)


def print_message(message: Message) -> None:
    out = console()
    route = message.route
    facts = [
        ("Id", message.id),
        ("Status", message.status),
        ("Reason", explain_all(message.reasons, message.status)),
        ("To", message.recipient or "-"),
        ("From", route.tracking_number if route else "-"),
        ("Account", f"{route.account_id}, company {route.company_id}" if route else "-"),
        ("Received", f"{local(message.received_at)} by {message.source}"),
        ("Sent", local(message.sent_at)),
        ("Seller", message.seller),
        ("Opportunity", message.opportunity_id),
        ("Sender", message.sender_id),
        ("Team", message.team_id),
        ("Conversation", message.conversation_id),
        ("Text", message.text or "-"),
    ]
    _columns(out, ((safe(name, "bold"), safe(value)) for name, value in facts if value))
    for decision in message.decisions:
        why = f": {decision.actor.note}" if decision.actor.note else ""
        over = f" (over {', '.join(decision.overridden)})" if decision.overridden else ""
        done = safe(f"{decision.actor.name}: {decision.verb}{over}{why}")
        _columns(out, [(Text(local(decision.decided_at)), done)], _TIME_WIDTH)
    for segment in message.segments:
        out.print()
        title = Text(f"Part {segment.position} of {len(message.segments)}  ", style="bold")
        out.print(title, Text(segment.status, style=STYLES[segment.status]), sep="")
        out.print(safe(segment.content))
        _columns(out, _attempt_rows(segment.attempts), _TIME_WIDTH)


def _attempt_rows(attempts: Iterable[Attempt]) -> Iterator[tuple[Text, Text]]:
    for attempt in attempts:
        answer = f" {attempt.http_status}" if attempt.http_status else ""
        happened = f"{attempt.outcome or 'under way'}{answer}  {attempt.detail or ''}"
        yield Text(local(attempt.started_at)), safe(happened)
        for learnt in attempt.evidence:
            yield Text(local(learnt.noted_at)), safe(learnt.detail, "dim")
        if attempt.next_lookup_at is not None:
            yield Text(local(attempt.next_lookup_at)), Text("CallRail is checked", style="dim")


def _columns(out: Console, rows: Iterable[tuple[Text, Text]], first: int = 14, gap: int = 2) -> None:
    """Print names or times and what belongs to each, wrapped inside its own column on a terminal."""
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(width=first, no_wrap=True)
    table.add_column(overflow="fold")  # a long path is of use only whole
    for name, value in rows:
        if out.soft_wrap:
            name.pad_right(first + gap - name.cell_len)
            out.print(name, value, sep="")
        else:
            table.add_row(name, value)
    if table.row_count:
        out.print(table)


def print_health(report: HealthReport) -> None:
    out = console()
    told: set[tuple[str, ...]] = set()
    # Whether a relay is running comes first; the exit code follows from the order of the checks.
    for finding in sorted(report.findings, key=lambda finding: finding.name != RELAY):
        what, remedy = split_remedy(finding.detail)
        mends = tuple(re.findall("`[^`]+`", remedy)) or (remedy,)
        # A person reads once what fixes several things; in a pipe, each line is complete.
        words = safe(what if mends in told and not out.soft_wrap else finding.detail)
        told.add(mends)
        mark, style = _MARKS[finding.condition]
        _columns(out, [(Text(mark, style), Text.assemble((f"{finding.name}: ", "bold"), words))], 1, 1)
    passed, warnings, errors = (sum(one.condition == which for one in report.findings) for which in _MARKS)
    out.print(f"{passed} passed, {plural(warnings, 'warning')}, {plural(errors, 'error')}.")


def print_status(report: StatusReport) -> None:
    console().print(Group(*_lines(report)))


def _lines(report: StatusReport) -> Iterator[Text]:
    facts = report.facts
    head, *others = points = judge(facts)
    yield Text(sentences.point_words(head, facts), style=f"bold {_LEVEL_STYLES[head.code.level]}")
    for point in others[: MOST_SHOWN - 1]:
        yield Text(sentences.point_words(point, facts), style=_LEVEL_STYLES[point.code.level])
    yield from _not_shown(len(points), "notice")
    if running := sentences.running_words(facts):
        yield Text(running)
    yield Text(sentences.seen_lately(facts))
    yield from checklist_lines(checklist(facts))
    for status in most_pressing(facts.accounts, MOST_SHOWN):
        yield Text()
        yield from _account_lines(status, facts.now)
    yield from _not_shown(len(facts.accounts), "account")
    yield Text()
    counts = [
        Text.assemble((f"{count} ", "bold"), (status.value, STYLES[status]))
        for status, count in report.counts.items()
        if count
    ]
    yield Text(", ").join(counts) if counts else Text("No texts yet.")
    yield Text(sentences.queue_words(facts))


def _not_shown(count: int, word: str) -> Iterator[Text]:
    if words := sentences.not_shown(count, word):
        yield Text(words, style="dim")


def checklist_lines(items: Sequence[Item]) -> Iterator[Text]:
    """Yield the first run: each step with its state, and the next step in words."""
    if items:
        yield Text()
        yield Text(f"First run: {sum(item.done for item in items)} of {len(items)} steps done", style="bold")
    for number, item in enumerate(items, start=1):
        mark = ("✓ ", "green") if item.done else (f"{number} ", "yellow" if item.todo else "dim")
        yield Text.assemble("  ", mark, sentences.STEPS[item.step])
        if item.todo:
            yield Text(f"    {sentences.TODOS[item.todo]}")


def _account_lines(status: AccountStatus, now: datetime) -> Iterator[Text]:
    account = status.account
    yield safe(account.id, "bold")
    for name, window in ("hour", status.hour), ("day", status.day):
        # Rounded down, except the first: a gauge is full only when the budget is, and empty only when it is.
        filled = max(math.floor(window.share * _GAUGE), 1 if window.used else 0)
        style = "red" if window.share >= _FULL else "yellow" if window.share >= _TIGHT else "green"
        room = f", available again {at(window.free_at, now)}" if window.free_at else ""
        yield Text.assemble(
            f"  {name:<5} ",
            ("█" * filled, style),
            ("░" * (_GAUGE - filled), "dim"),
            f" {window.used} of {window.allowed} used{room}",
        )
    if account.paused_since is not None:
        yield Text(f"  paused since {when(account.paused_since, now)}", "red")
    if account.wait_until is not None:
        why = explain(account.wait_reason) if account.wait_reason else ""
        yield safe(f"  waits until {when(account.wait_until, now)}: {why}", "yellow")
    if status.pending:
        waits = "part is waiting" if status.pending == 1 else "parts are waiting"
        yield Text(f"  {status.pending} {waits} to be sent")


async def watch_status(read: Callable[[], Awaitable[StatusReport]], stopped: asyncio.Event) -> None:
    """Show the status every second until *stopped*; as JSON or without a terminal, only what changed."""
    out, shown = console(), None
    is_live = out.is_terminal and not given.as_json
    with Live(console=out, auto_refresh=False) if is_live else contextlib.nullcontext() as live:
        while not stopped.is_set():
            report = await read()
            lines = list(_lines(report))
            if live is not None:
                live.update(Group(*lines), refresh=True)
            else:
                text = json_text(report.document()) if given.as_json else "\n".join(map(str, lines))
                # Compared as it's shown: the time of the look alone isn't a change.
                if text != shown:
                    echo(text)
                shown = text
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), 1)


_COLORS = {"warning": "yellow", "error": "red"}
_TOLD: dict[str, tuple[str, str]] = WORDS["told"]
_MOST = 1000  # events that wait to be shown while the terminal is stopped; more aren't shown

Find = Callable[[str], Awaitable[Sequence[Message]]]


class Narrator:
    """A hook for events that never waits: they're put into words and shown in the background."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: asyncio.Queue[events.Event | None] = asyncio.Queue(_MOST)

    def __call__(self, event: events.Event | None) -> None:
        """Take an event; None ends ``run`` once all before it are shown."""
        if isinstance(event, events.MessageAccepted | None) or event.level != "debug":
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(event)

    async def run(self, find: Find) -> None:
        out = console(stderr=True)
        while (event := await self._waiting.get()) is not None:
            try:
                row = _row(sentences.clock_time(self._clock.now()), *await _in_words(event, find))
                # In a thread: the relay keeps working while a person holds the terminal.
                await asyncio.to_thread(out.print, row)
            except Exception:  # noqa: BLE001, S112 - one event that can't be shown must not stop the others
                continue


async def narrate_log(lines: Iterable[str], find: Find | None, now: Callable[[], datetime]) -> None:
    """Show the lines of a log as ``Narrator`` would have; without *find*, no text's person is known."""
    out = console()
    for line in lines:
        try:
            known = json.loads(line)
            time, action = datetime.fromisoformat(known["timestamp"]), known["action"]
        except (ValueError, TypeError, KeyError):  # not of the relay's own log, such as systemd's words
            out.print(safe(line))
            continue
        told = str(known.get("words") or action), _COLORS.get(known.get("level"), "")
        if event := events.read_event(known):
            told = await _in_words(event, find)
        out.print(_row(when(time, now()), *told))


def _row(time: str, words: str, style: str) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(Text(time, "dim"), safe(words, style))
    return row


async def _in_words(event: events.Event, find: Find | None) -> tuple[str, str]:
    """Return what happened, and its color."""
    text = ""
    if isinstance(event, events.MessageEvent):
        with contextlib.suppress(RelayError):  # the text is gone, or the store itself is broken
            if find and (told := _of_message(event, (await find(event.message_id))[0])):
                return told
        text = f"text {event.message_id[-SHORT_ID:]}"
    if isinstance(event, events.AccountPaused | events.AccountWaits):
        what = "is paused" if isinstance(event, events.AccountPaused) else "waits"
        return f"Sending {what}. {sentences.explain(Reason(event.reason))}", _COLORS[event.level]
    detail = getattr(event, "reason", None) or getattr(event, "detail", None) or text
    what = event.action.replace("_", " ").capitalize()
    return f"{what}: {detail}" if detail else f"{what}.", _COLORS.get(event.level, "")


def _of_message(event: events.MessageEvent, message: Message) -> tuple[str, str] | None:
    shades = (f"{event.action}.{getattr(event, name, None)}" for name in ("outcome", "status"))
    row = next((_TOLD[key] for key in (*shades, event.action) if key in _TOLD), None)
    if row is None:
        return None
    count = len(message.segments)
    told = {
        "who": " ".join(filter(None, (message.seller, sentences.phone(message.recipient)))),
        "why": " ".join(map(sentences.says, message.reasons)),
        "part": f"part {getattr(event, 'position', 1)} of {count} " if count > 1 else "",
    }
    return row[0].format(**told), row[1]
