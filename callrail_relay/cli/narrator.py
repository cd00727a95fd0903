"""What ``serve`` says on a terminal: what happens, in words, with the names and numbers of people."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from rich.table import Table
from rich.text import Text

from callrail_relay import sentences
from callrail_relay.cli.render import console, safe
from callrail_relay.clock import Clock
from callrail_relay.domain import events
from callrail_relay.domain.message import Message, Reason, Status
from callrail_relay.domain.outcome import OutcomeKind

_COLORS = {"warning": "yellow", "error": "red"}
_MOST = 1000  # events that wait to be shown while the terminal is stopped; more are not shown

Find = Callable[[str], Awaitable[Sequence[Message]]]


class Narrator:
    """A hook for events that never waits: they are put into words and shown beside it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: asyncio.Queue[events.Event | None] = asyncio.Queue(_MOST)

    def __call__(self, event: events.Event | None) -> None:
        """Take an event; None ends ``run`` when all before it is shown."""
        if isinstance(event, events.MessageAccepted | None) or event.level != "debug":
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(event)

    async def run(self, find: Find) -> None:
        out = console(stderr=True)
        while (event := await self._waiting.get()) is not None:
            try:
                row = Table.grid(padding=(0, 2, 0, 0))
                time = Text(sentences.clock_time(self._clock.now()), "dim")
                row.add_row(time, safe(*await _in_words(event, find)))
                # In a thread: the relay keeps working while a person holds the terminal.
                await asyncio.to_thread(out.print, row)
            except Exception:  # noqa: BLE001, S112 - one event that can't be shown must not stop the others
                continue


async def _in_words(event: events.Event, find: Find) -> tuple[str, str]:
    """What happened, and its color."""
    if isinstance(event, events.MessageEvent):
        [message, *_] = await find(event.message_id)
        if told := _of_message(event, message):
            return told
    if isinstance(event, events.AccountPaused | events.AccountWaits):
        what = "is paused" if isinstance(event, events.AccountPaused) else "waits"
        return f"Sending {what}. {sentences.explain(Reason(event.reason))}", _COLORS[event.level]
    detail = getattr(event, "reason", None) or getattr(event, "detail", None)
    what = event.action.replace("_", " ").capitalize()
    return f"{what}: {detail}" if detail else f"{what}.", _COLORS.get(event.level, "")


def _of_message(event: events.MessageEvent, message: Message) -> tuple[str, str] | None:
    who = " ".join(filter(None, (message.seller, sentences.phone(message.recipient))))
    why = " ".join(map(sentences.says, message.reasons))
    told = None
    match event:
        case events.MessageHeld() | events.MessageAccepted(status=Status.HELD):
            told = f"On hold: {who}. {why}", "yellow"
        case events.MessageAccepted():
            told = f"Received for {who}", ""
        case events.AttemptFinished(outcome=OutcomeKind.SENT):
            count = len(message.segments)
            told = f"Sent {f'part {event.position} of {count} ' if count > 1 else ''}to {who}", "green"
        case events.AttemptFinished(outcome=OutcomeKind.UNKNOWN):
            told = f"Unconfirmed: {who}. The relay checks with CallRail whether it was sent.", "yellow"
        case events.AttemptFinished(status=Status.FAILED):
            told = f"Failed: {who}. {why}", "red"
        case events.AttemptFinished():
            told = f"Not sent yet: {who}", "yellow"
        case events.OutcomeFound(status=Status.SENT):
            told = f"Confirmed: CallRail has it for {who}", "green"
        case events.OutcomeFound():
            told = f"Not found at CallRail: {who}. {why}", "yellow"
        case events.SentTwice():
            told = f"Sent twice to {who}", "red"
    return told
