"""What each reason says to people: a row per reason in ``sentences.toml``; see docs/reference/payloads.md."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from string import Formatter
from typing import TYPE_CHECKING, Any

from callrail_relay.domain import read_table
from callrail_relay.domain.message import Reason, Status

if TYPE_CHECKING:  # imports that help must not wait for
    from callrail_relay.domain.health import Facts, Node, Point
    from callrail_relay.domain.shadow import ShadowReport
    from callrail_relay.domain.views import Waiting

_DATA: dict[str, Any] = read_table(__package__, "sentences")
POINTS: dict[str, str] = _DATA.pop("points")
STEPS: dict[str, str] = _DATA.pop("steps")
TODOS: dict[str, str] = _DATA.pop("todos")
_DONE: dict[str, str] = _DATA.pop("zap")
_NOT_FORWARDED: dict[str, str] = _DATA.pop("requests")


SENTENCES = {key: (row,) if isinstance(row, str) else tuple(row) for key, row in _DATA.items()}


def shown(name: str, value: object) -> str:
    """Return a value as text: spans in words, instants by this machine's clock."""
    if name.endswith("_seconds"):
        return span(float(str(value)))
    if name.removeprefix("at_") in ("until", "written_at", "made_at"):
        local = datetime.fromisoformat(str(value)).astimezone()
        return f"{'at ' if name.startswith('at_') else ''}{clock_time(local)} on {local:%b} {local.day}"
    if name in ("note", "detail"):  # other people's words, before more of ours
        words = str(value).strip()
        return words if words.endswith((".", "!", "?")) else f"{words}."
    return str(value)


Show = Callable[[str, object], str]  # shows a parameter of this name; at_ before it adds *at* to an instant
Text = Callable[[str], str]


def explain(
    reason: Reason, *, page: bool = False, do: bool = True, show: Show = shown, text: Text = str
) -> str:
    """Return *reason* in sentences, with what to *do*; *text* is what they're made of, such as Markup."""
    says, *remedies = _row_of(reason)
    template = " ".join([says, *((remedies[-1:] if page else remedies[:1]) if do else ())]).strip()
    again = partial(explain, page=page, show=show, text=text)
    values = {}
    for name, parameter in _fields(template).items():
        value = reason.parameters[parameter]
        values[name] = again(Reason(**value)) if name == "cause" else show(name, value)
    return text(template).format(**values)


def says(reason: Reason) -> str:
    """Return what happened, without what to do."""
    return explain(reason, do=False)


def explain_all(reasons: Iterable[Reason], status: Status | None = None) -> str | None:
    """Return all reasons in one line, or None; with what to do, unless *status* leaves nothing to do."""
    do = status not in (Status.CANCELLED, Status.SHADOW)
    return " ".join(explain(reason, do=do) for reason in reasons) or None


def _row_of(reason: Reason) -> tuple[str, ...]:
    """Return the most specific row whose values are there: those that people typed are removed in time."""
    for key in (f"{reason.code}.{reason.parameters.get('problem')}", reason.code, f"{reason.code}.removed"):
        says, *remedies = SENTENCES.get(key, ("",))
        if says and reason.parameters.keys() >= set(_fields(says).values()):
            return says, *remedies
    return (f"{reason.code.replace('_', ' ').capitalize()}.",)


def _fields(template: str) -> dict[str, str]:
    """Return the fields of a template, and the parameter that each shows."""
    return {name: name.removeprefix("at_") for _, name, _, _ in Formatter().parse(template) if name}


def phone(number: str | None) -> str:
    """Return a number as people write it: (202) 555-0122."""
    if number is None:
        return "no number"
    return re.sub(r"^(?:\+1)?([0-9]{3})([0-9]{3})([0-9]{4})$", r"(\1) \2-\3", number)


def clock_time(instant: datetime, *, seconds: bool = False) -> str:
    """Return the time of day by this machine's clock: 2:05 PM."""
    local = instant.astimezone()
    tail = f":{local.second:02}" if seconds else ""
    return f"{local.hour % 12 or 12}:{local.minute:02}{tail} {'AM' if local.hour < 12 else 'PM'}"


def local(instant: datetime | None) -> str:
    """Return an instant by this machine's clock, to the second."""
    return "-" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when(instant: datetime | None, now: datetime, *, seconds: bool = False) -> str:
    """Return an instant as one would say it at *now*: 2:05 PM, yesterday 2:05 PM, Nov 21 at 2:05 PM."""
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


def at(instant: datetime | None, now: datetime) -> str:
    """Return an instant as in a sentence: at 2:05 PM, tomorrow at 2:05 PM, on Nov 21 at 2:05 PM."""
    time = when(instant, now)
    if time.startswith(("yesterday", "tomorrow")):
        return time.replace(" ", " at ", 1)
    return f"on {time}" if " at " in time else f"at {time}"


def point_words(point: "Point", facts: "Facts") -> str:
    """Return what a point of the verdict says, and what to do."""
    return POINTS[point.code.name].format(**of_point(point, facts)).strip()


def of_point(point: "Point", facts: "Facts") -> dict[str, Any]:
    """Return what sentences about a point of the verdict show."""
    return {
        "name": point.name,
        "detail": point.detail if point.reason is None else explain(point.reason),
        "count": point.count,
        "messages": plural(point.count, "message"),
        "need": "needs" if point.count == 1 else "need",
        "kinds": _kinds(facts.waiting),
        "whose": "" if len(facts.accounts) == 1 else f" from account {point.account_id}",
        "time": when(point.at, facts.now),
        "at": at(point.at, facts.now),
    }


def _kinds(waiting: "Waiting") -> str:
    """Return how many messages of each kind need review: 2 on hold, 1 failed today."""
    kinds = ((waiting.held, "on hold"), (waiting.unknown, "unconfirmed"), (waiting.failed, "failed today"))
    return ", ".join(f"{bucket.count:,} {kind}" for bucket, kind in kinds if bucket.count)


def running_words(facts: "Facts") -> str:
    """Return since when the relay has been running, and on which servers if there are several."""
    nodes = facts.running.nodes
    since = [f" since {when(node.since, facts.now)}" if node.since else "" for node in nodes]
    if len(nodes) > 1:
        servers = (f"{node.name}{time}" for node, time in zip(nodes, since, strict=True))
        running = [f"Running on {len(nodes)} servers: {', '.join(servers)}."]
    else:
        running = [f"Running{time}." for time in since if time]
    slept = (asleep(node, facts.now) for node in nodes)
    return " ".join(filter(None, (*running, *slept)))


def asleep(node: "Node", now: datetime) -> str:
    """Return how long a node's computer slept the last time; nothing if it didn't."""
    if (slept := node.slept) is None:
        return ""
    who, lasted = node.name if node.pid is None else "This computer", roughly(slept.seconds)
    until = when(slept.woke_at, now)
    return f"{who} was asleep or suspended for {lasted} until {until}, and couldn't receive texts."


def queue_words(facts: "Facts") -> str:
    """Return how many messages are in the queue, and when the last of them can be sent."""
    if not (queued := facts.waiting.queued):
        return "The queue is empty."
    words = f"{plural(queued, 'message')} {'is' if queued == 1 else 'are'} in the queue"
    if facts.drains_at is None:
        return f"{words}."
    if facts.drains_at - facts.now < timedelta(minutes=1):
        return f"{words}; it will be empty within a minute."
    return f"{words}; it will be empty by about {when(facts.drains_at, facts.now)}."


def seen_lately(facts: "Facts") -> str:
    """Return when IF3 posted last, and which version runs, if known."""
    at = facts.last_from_if3
    today = "today " if at and at.astimezone().date() == facts.now.astimezone().date() else ""
    last = f"Last text from IF3: {today}{when(at, facts.now)}." if at else "No text from IF3 yet."
    versions = sorted({node.version for node in facts.running.nodes if node.version})
    return f"{last} Version {', '.join(versions)}." if versions else last


MOST_SHOWN = 20  # accounts, and points of the verdict, that a page or `status` shows


def not_shown(count: int, word: str) -> str:
    """Return that there are more than MOST_SHOWN; nothing if there aren't."""
    more = count - MOST_SHOWN
    words = f"And {plural(more, f'more {word}')}; `callrail-relay status --json` lists every account."
    return words if more > 0 else ""


def totals(report: "ShadowReport", late_after: timedelta) -> str:
    """Return what an owner wants to know: "412 texts in 6 days. The Zap lost 3. The relay would hold 2."."""
    counts = report.counts
    texts, sent, pending = (counts[name] for name in ("texts", "sent", "pending"))
    if not texts:
        return "No texts came in shadow mode in that time."
    days = max(1, round((report.until - (report.since or report.until)) / timedelta(days=1)))
    late = "a minute" if late_after == timedelta(minutes=1) else span(late_after.total_seconds())
    parts = [words.format(f"{counts[name]:,}", late=late) for name, words in _DONE.items() if counts[name]]
    did = listed(parts)
    if not did and sent:
        did = "made no mistakes" if sent == texts else "sent the others as they came"
    said = [f"{plural(texts, 'text')} in {plural(days, 'day')}."]
    said.append(f"The Zap {did}." if did else "What the Zap did isn't known yet.")
    said += [f"CallRail doesn't show {pending:,} yet."] if pending else []
    unknown = texts - sent - counts["missing"] - pending
    said += [f"{unknown:,} can't be compared."] if unknown and did else []
    return " ".join([*said, f"The relay would have held {counts['would_hold'] or 'none'}."])


def not_forwarded(requests: Mapping[str, int]) -> list[str]:
    """Return what became of the requests that the old URL didn't accept."""
    found = ((words, requests[state]) for state, words in _NOT_FORWARDED.items())
    return [words.format(plural(count, "request")) for words, count in found if count]


def listed(parts: Sequence[str]) -> str:
    """Return a list as people say it: one, two and three."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def plural(count: int, word: str) -> str:
    """Return a count with its word: 1 text, 2,000 texts."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def roughly(seconds: float) -> str:
    """Return a span of time as people say it: 1 minute, 2 hours."""
    minutes = round(seconds / 60)
    return plural(round(minutes / 60), "hour") if minutes >= 90 else plural(max(minutes, 1), "minute")


def span(seconds: float) -> str:
    """Return a span of time in words: 4 hours, 90 minutes, 5 seconds."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return plural(int(seconds // size), unit)
    return f"{seconds:g} seconds"
