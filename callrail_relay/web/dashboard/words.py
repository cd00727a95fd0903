"""Values as pages show them: times by this machine's clock, phone numbers, sentences."""

import re
from datetime import datetime
from functools import partial

from markupsafe import Markup, escape

from callrail_relay.domain import read_table, sentences_from
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.printable import shortened
from callrail_relay.sentences import at, clock_time, explain, shown, when

WORDS = read_table(__package__, "words")
STEPS: dict[str, str] = WORDS["steps"]
say = sentences_from(__package__, "words", "notices")
STATUS_WORDS, STATUS_MEANINGS = ({status: WORDS["status"][status][at] for status in Status} for at in (0, 1))

_COMMAND = re.compile(r"`([^`]+)`")


def time_tag(
    instant: datetime | None, now: datetime, *, seconds: bool = False, of_day: bool = False
) -> Markup:
    """Return an instant as an element; *of_day* if the day is shown above it."""
    if instant is None:
        return Markup("")
    exact, local = instant.isoformat(timespec="seconds"), instant.astimezone()
    full = f"{local:%A}, {local:%B} {local.day}, {local.year}, {clock_time(instant, seconds=True)}"
    short = clock_time(instant) if of_day else when(instant, now, seconds=seconds)
    return Markup(f'<time datetime="{exact}" title="{full}">{short}</time>')  # noqa: S704 - all ours


def sentence(words: str | Reason | None, now: datetime) -> Markup:
    """Return a sentence, or a reason with links, local times, and the buttons of a page."""
    if isinstance(words, Reason):
        explained = explain(words, page=True, show=partial(_shown, now=now), text=_commands)
        return Markup(explained)  # noqa: S704 - escaped by `_commands`
    return _commands(words or "")


def _commands(words: str) -> Markup:
    """Return *words* escaped, with commands as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(words))))  # noqa: S704 - escaped in it


def _shown(name: str, value: object, now: datetime) -> str:
    """Return a reason's parameter for a page. What isn't Markup is escaped when the sentence is filled in."""
    match name:
        case "message_id":
            return Markup('<a href="/texts/{0}">{1}…</a>').format(value, str(value)[:8])
        case "until" | "written_at" | "made_at":
            return when(datetime.fromisoformat(str(value)), now)
        case "at_until" | "at_written_at":
            return at(datetime.fromisoformat(str(value)), now)
        case _:
            return shown(name, value)


def brief(reason: Reason, now: datetime, most: int = 90) -> str:
    """Return the beginning of a reason, without links."""
    return shortened(sentence(reason, now).striptags(), most)
