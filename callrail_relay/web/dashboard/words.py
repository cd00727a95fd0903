"""Values in the words of an office: times by this machine's clock, phone numbers, counts, sentences."""

import re
from datetime import datetime, timedelta

from markupsafe import Markup, escape

from callrail_relay.domain.message import Source, Status

STATUS_WORDS = {
    Status.HELD: "Held",
    Status.QUEUED: "Queued",
    Status.SENDING: "Sending",
    Status.UNKNOWN: "Unknown",
    Status.SENT: "Sent",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
}

STATUS_MEANINGS = {
    Status.HELD: "Kept back by a rule or a fault.",
    Status.QUEUED: "Leaves as soon as its turn comes.",
    Status.SENDING: "On its way to CallRail.",
    Status.UNKNOWN: "CallRail may or may not have taken it.",
    Status.SENT: "CallRail took it.",
    Status.FAILED: "CallRail refused it.",
    Status.CANCELLED: "Somebody decided that it does not leave.",
}

SOURCE_WORDS = {
    Source.WEBHOOK: "from IF3",
    Source.SEND: "typed on this computer",
    Source.REPLAY: "from a saved file",
}

_INSTANT = re.compile(r"(\bat )?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?:Z| UTC)")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_COUNT = re.compile(r"\b(\d[\d,]*) ((?:\w+ )?\w+)\(s\)")
_COMMAND = re.compile(r"`([^`]+)`")

BUTTONS = {
    "run `callrail-relay resume`": "press “Resume sending”",
    "Run `callrail-relay resume`": "Press “Resume sending”",
    "`callrail-relay messages approve ID --same-wording`": "“Approve all alike”",
    "`callrail-relay messages remap`": "“Map again”",
    "`messages resend`": "“Send again”",
    "`messages mark-sent`": "“Mark as sent”",
    "`messages cancel`": "“Cancel”",
    "`callrail-relay messages list --status held --status unknown`": '<a href="/#waiting">Now</a>',
    "`callrail-relay messages list`": '<a href="/texts">Texts</a>',
    "with `callrail-relay opt-outs remove`": 'in <a href="/setup#opt-outs">Setup</a>',
    "run `callrail-relay opt-outs add`": "press “Opt out”",
    "`callrail-relay opt-outs list`": '<a href="/setup#opt-outs">Setup</a>',
    "`callrail-relay status`": '<a href="/">Now</a>',
}
"""What a page has in place of a command."""


def clock_time(instant: datetime, *, seconds: bool = False) -> str:
    """The time of day: 2:05 PM."""
    local = instant.astimezone()
    tail = f":{local.second:02}" if seconds else ""
    return f"{local.hour % 12 or 12}:{local.minute:02}{tail} {'AM' if local.hour < 12 else 'PM'}"


def when(instant: datetime | None, now: datetime, *, seconds: bool = False) -> str:
    """An instant as one would say it at *now*: 2:05 PM, yesterday 2:05 PM, Nov 21 at 2:05 PM."""
    if instant is None:
        return ""
    day, today = instant.astimezone().date(), now.astimezone().date()
    time = clock_time(instant, seconds=seconds)
    if day == today:
        return time
    if day == today - timedelta(days=1):
        return f"yesterday {time}"
    if day == today + timedelta(days=1):
        return f"tomorrow {time}"
    date = f"{day:%b} {day.day}" + ("" if day.year == today.year else f", {day.year}")
    return f"{date} at {time}"


def at(instant: datetime, now: datetime) -> str:
    """When something happens, within a sentence: at 2:05 PM, tomorrow at 2:05 PM, on Nov 21 at 2:05 PM."""
    words = when(instant, now)
    for day in ("yesterday", "tomorrow"):
        if words.startswith(day):
            return words.replace(" ", " at ", 1)
    return f"on {words}" if " at " in words else f"at {words}"


def full(instant: datetime) -> str:
    """An instant in full, for whoever points at a shorter one."""
    local = instant.astimezone()
    return f"{local:%A}, {local:%B} {local.day}, {local.year}, {clock_time(instant, seconds=True)}"


def time_tag(
    instant: datetime | None, now: datetime, *, seconds: bool = False, of_day: bool = False
) -> Markup:
    """An instant as an element that programs can read as well; *of_day* where the day stands above it."""
    if instant is None:
        return Markup("")
    exact = instant.isoformat(timespec="seconds")
    short = clock_time(instant) if of_day else when(instant, now, seconds=seconds)
    # Nobody wrote any of it, and a page has many: it is not escaped.
    return Markup(f'<time datetime="{exact}" title="{full(instant)}">{short}</time>')  # noqa: S704 - see above


def span(length: timedelta) -> str:
    """About how long: 40 seconds, 12 minutes, 3 hours."""
    seconds = max(0, round(length.total_seconds()))
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * 1.5 or (size == 60 and seconds >= 60):
            return plural(round(seconds / size), word)
    return plural(seconds, "second")


def phone(number: str | None) -> str:
    """A number as people write it: (202) 555-0122."""
    if number is None:
        return "no number"
    digits = number.removeprefix("+1")
    if not re.fullmatch("[0-9]{10}", digits):
        return number
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"


def plural(count: int, word: str) -> str:
    """A count with its word: 1 text, 2,000 texts."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def sentence(words: str | None, now: datetime) -> Markup:
    """
    A sentence of the program for a person at a page: instants by this clock, ids as links, the buttons that
    a page has in place of commands, and other commands set apart.
    """
    shown = str(escape(words or ""))
    for command, button in BUTTONS.items():
        shown = shown.replace(command, button)
    shown = _COUNT.sub(lambda found: f"{found[1]} {found[2]}{'' if found[1] == '1' else 's'}", shown)
    shown = _INSTANT.sub(lambda found: _local(found, now), shown)
    shown = _UUID.sub(lambda found: f'<a href="/texts/{found[0]}">{found[0][:8]}…</a>', shown)
    return Markup(_COMMAND.sub(r"<code>\1</code>", shown))  # noqa: S704 - escaped above


def _local(found: re.Match[str], now: datetime) -> str:
    instant = datetime.fromisoformat(f"{found[2]}T{found[3]}Z")
    return at(instant, now) if found[1] else when(instant, now)


def shortened(text: str | None, most: int = 160) -> str:
    """The beginning of a text on one line, up to the end of a word."""
    line = " ".join((text or "").split())
    if len(line) <= most:
        return line
    whole, _, _ = line[:most].rpartition(" ")
    return f"{whole or line[: most - 1]}…"


def brief(words: str | None, now: datetime, most: int = 90) -> str:
    """The beginning of a sentence of the program, without links."""
    return shortened(sentence(words, now).striptags(), most)
