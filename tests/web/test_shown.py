"""What the pages make of values: words, plots, the first sentence, and the way of a text."""

import re
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from callrail_relay import web
from callrail_relay.cli import render
from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import (
    CheckResult,
    Code,
    Condition,
    Facts,
    Level,
    Node,
    PublicUrl,
    Running,
    Slept,
    most_pressing,
)
from callrail_relay.domain.health import Point as HealthPoint
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.message import (
    Actor,
    Attempt,
    Decision,
    Evidence,
    Message,
    Reason,
    Segment,
    Source,
    Status,
    Verb,
    instant,
)
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.printable import shortened
from callrail_relay.domain.views import Arrivals, Bucket, Waiting
from callrail_relay.sentences import POINTS, at, phone, plural, point_words, running_words, seen_lately, when
from callrail_relay.service.operations import StatusReport
from callrail_relay.web.dashboard import frame, now, plots, words
from callrail_relay.web.dashboard.texts import read_filter, readable, steps
from tests.support.factories import RECIPIENT, make_route

NOW = datetime(2026, 3, 4, 15, 30).astimezone()
"""A Wednesday, by the clock of wherever the test runs."""


# --- words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (NOW, "3:30 PM"),
        (NOW.replace(hour=0, minute=5), "12:05 AM"),
        (NOW.replace(hour=12, minute=0), "12:00 PM"),
        (NOW - timedelta(days=1), "yesterday 3:30 PM"),
        (NOW + timedelta(days=1), "tomorrow 3:30 PM"),
        (NOW - timedelta(days=30), "Feb 2 at 3:30 PM"),
        (NOW - timedelta(days=100), "Nov 24, 2025 at 3:30 PM"),
        (None, ""),
    ],
)
def test_instants_are_said_as_one_says_them(instant: datetime | None, said: str) -> None:
    """By this machine's clock, whatever the instant's own zone."""
    shown = when(None if instant is None else instant.astimezone(UTC), NOW)
    assert said == shown


def test_reason_is_for_a_person_at_a_page() -> None:
    """Instants by this clock, ids as links, buttons in place of commands, and no mark-up of others."""
    id_ = "019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf"
    came_before = Reason("duplicate", {"problem": "mapped_later", "message_id": id_})
    assert (
        f'The same text to the same person also arrived (message <a href="/texts/{id_}">019a0f8e…</a>). '
        "Press “Send anyway” to send it."
    ) == words.sentence(came_before, NOW)
    assert "an unfilled placeholder: &lt;b&gt;{name}." in words.sentence(
        Reason("merge_tag", {"placeholder": "<b>{name}"}), NOW
    )
    assert words.sentence(Reason("unauthorized"), NOW).endswith(
        "<code>callrail-relay configure</code>, and restart the relay. Then press “Resume sending”."
    )


@pytest.mark.parametrize(("days", "said"), [(0, "at 3:30 PM"), (1, "tomorrow at 3:30 PM")])
def test_reason_says_when(days: int, said: str) -> None:
    """As one says it today."""
    until = instant(NOW.astimezone(UTC) + timedelta(days=days))

    assert words.sentence(Reason("quiet_hours", {"until": until}), NOW).endswith(f"will be sent {said}.")


def test_sentence_of_the_program_is_escaped() -> None:
    """Commands are set apart."""
    shown = words.sentence("<b>Run</b> `callrail-relay resume`.", NOW)

    assert "&lt;b&gt;Run&lt;/b&gt; <code>callrail-relay resume</code>." == shown


def test_beginning_of_a_reason() -> None:
    """Without links, and without half a word."""
    assert "This person opted…" == words.brief(Reason("opt_out"), NOW, 22)


@pytest.mark.parametrize(
    ("days", "said"), [(0, "at 3:30 PM"), (1, "tomorrow at 3:30 PM"), (-30, "on Feb 2 at 3:30 PM")]
)
def test_when_something_happens(days: int, said: str) -> None:
    assert said == at(NOW + timedelta(days=days), NOW)


def test_numbers_and_counts() -> None:
    assert "(202) 555-0122" == phone(RECIPIENT)
    assert "no number" == phone(None)
    assert "12345" == phone("12345")
    assert ["1 text", "2 texts", "1,200 texts"] == [plural(count, "text") for count in (1, 2, 1200)]
    assert "Hi there,…" == shortened(" Hi \n there, you", 10)
    assert ["Hi…", "There…"] == [shortened(text, 6) for text in ("Hi there, you", "Thereabouts")]


# --- the filter ------------------------------------------------------------------------------------------


def test_fields_become_a_filter() -> None:
    """A number is a person; a name is a part of one; a day is a day of this clock."""
    asked = read_filter(
        {
            "status": "held",
            "person": "(202) 555-0122",
            "from": "2026-03-04",
            "to": "2026-03-04",
            "search": " oak  st ",
            "before": "9",
        }
    )
    wanted = asked.wanted
    assert (Status.HELD,) == wanted.statuses
    assert (RECIPIENT, None) == (wanted.recipient, wanted.name)
    assert ("oak", "st") == wanted.words
    assert wanted.since is not None
    assert NOW.replace(hour=0, minute=0) == wanted.since
    assert NOW.replace(day=5, hour=0, minute=0) == wanted.until
    assert 9 == wanted.before
    assert asked.narrowed
    assert "/texts?status=held&search=oak++st&person=%28202%29+555-0122&before=3" == asked.address(
        before=3, **{"from": None, "to": None}
    )


def test_a_time_of_the_day_is_taken_as_it_is() -> None:
    """Only a day is meant as a whole."""
    wanted = read_filter({"from": "2026-03-04T09:00:00+00:00", "to": "2026-03-04T10:00:00+00:00"}).wanted
    assert (NOW.replace(hour=9, minute=0), NOW.replace(hour=10, minute=0)) == (wanted.since, wanted.until)


@pytest.mark.parametrize(
    "query",
    [
        {"status": "gone"},
        {"from": "yesterday"},
        {"to": "9999-12-31"},
        {"from": "0001-01-01T00:00+05:00"},
        {"from": "0000-01-01"},
        {"from": "9-9T1"},
    ],
)
def test_field_that_makes_no_sense_is_named_and_left_out(query: dict[str, str]) -> None:
    asked = read_filter(query)
    assert 1 == len(asked.faults)
    assert ((), None) == (asked.wanted.statuses, asked.wanted.since)


@pytest.mark.parametrize("before", ["", "x", "-1", "1" * 30, "\uff11"])
def test_wrong_place_is_the_beginning(before: str) -> None:
    assert read_filter({"before": before}).wanted.before is None


# --- plots -----------------------------------------------------------------------------------------------


def arrivals(*counts: tuple[timedelta, Status, int]) -> list[Arrivals]:
    return [Arrivals(begins=NOW - back, status=status, count=count) for back, status, count in counts]


def test_bars_hold_what_came_in() -> None:
    """Each hour and day once, by this machine's clock; what is older is on no bar."""
    came = arrivals(
        (timedelta(minutes=15), Status.SENT, 3),
        (timedelta(minutes=30), Status.SENDING, 1),
        (timedelta(minutes=31), Status.FAILED, 2),
        (timedelta(days=3), Status.SENT, 5),
        (timedelta(days=40), Status.SENT, 7),
    )
    hours, days = plots.plot("24h", came, NOW), plots.plot("30d", came, NOW)
    assert {"sent": 3, "queued": 1} == hours.bars[-1].counts
    assert {"failed": 2} == hours.bars[-2].counts
    assert 6 == sum(hours.totals.values())
    assert (24, 30) == (len(hours.bars), len(days.bars))
    assert {"sent": 3, "queued": 1, "failed": 2} == days.bars[-1].counts
    assert {"sent": 5} == days.bars[-4].counts
    assert 11 == sum(days.totals.values())
    assert [("sent", 8), ("queued", 1), ("failed", 2)] == [*days.totals.items()]


@pytest.mark.skipif(sys.platform == "win32", reason="time.tzset is of POSIX")
@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01", "2026-11-02"])
def test_bar_opens_its_hour_when_clocks_change(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    """Also those from before; the hour that comes twice is opened as a whole by both of its bars."""
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    try:
        now = datetime.fromisoformat(f"{day}T18:30+00:00")
        for back, bar in enumerate(reversed(plots.plot("24h", [], now).bars)):
            span = read_filter(dict(parse_qsl(urlsplit(bar.link).query))).wanted
            begin = now.replace(minute=0) - timedelta(hours=back)
            twice = day == "2026-11-01" and bar.name.startswith("1:00 AM")
            begins = (begin, begin - timedelta(hours=1)) if twice else (begin,)
            length = timedelta(hours=2 if twice else 1)
            assert span.since in begins
            assert span.until == (span.since or begin) + length
    finally:
        monkeypatch.undo()
        time.tzset()


def test_pieces_stand_on_each_other() -> None:
    """From the ground up, and never higher than the scale."""
    came = arrivals((timedelta(), Status.SENT, 6), (timedelta(), Status.HELD, 2))
    plot = plots.plot("24h", came, NOW)
    assert 10 == plot.top
    drawn = frame.templates().get_template("plot.html").module.plot_figure(plot)  # type: ignore[attr-defined]  # a macro of it
    assert [("sent", "40.0", "60.0"), ("held", "20.0", "20.0")] == re.findall(
        r'class="fill (\w+)" x="\d+" y="([\d.]+)" width="6" height="([\d.]+)"', drawn
    )


@pytest.mark.parametrize(
    ("most", "top"), [(0, 2), (1, 2), (2, 2), (3, 4), (5, 10), (11, 20), (99, 100), (101, 200)]
)
def test_scale_ends_at_a_round_number(most: int, top: int) -> None:
    plot = plots.plot("24h", arrivals((timedelta(), Status.SENT, most)), NOW)
    assert top == plot.top


def test_nothing_came_in() -> None:
    plot = plots.plot("30d", [], NOW)
    assert {} == plot.totals


# --- the first sentence ----------------------------------------------------------------------------------


def facts(
    *,
    waiting: Waiting | None = None,
    account: Account | None = None,
    hour: Window | None = None,
    pending: int = 0,
    drains_at: datetime | None = None,
    any_sent: bool = True,
    nodes: tuple[Node, ...] = (Node(name="office", since=NOW),),
    failed_checks: tuple[CheckResult, ...] = (),
) -> Facts:
    status = AccountStatus(
        account=account or Account(id="ACC1"),
        hour=hour or Window(1, 150),
        day=Window(1, 1000),
        pending=pending,
        drains_at=drains_at,
    )
    return Facts(
        now=NOW,
        running=Running(nodes),
        accounts=(status,),
        waiting=waiting or Waiting(),
        any_sent=any_sent,
        failed_checks=failed_checks,
    )


def test_all_is_well() -> None:
    """With nothing in the store, with all of it sent, and with a queue that empties by itself."""
    [empty] = now.render(facts(any_sent=False))
    assert (Level.NOTE, "Almost there: connect IF3 to start") == (empty.level, empty.words)
    reached = PublicUrl(url="https://texts.example.com", answered=True)

    def told(found: Facts) -> now.Point:
        [point] = now.render(replace(found, public_url=reached))
        return point

    done = told(facts())
    assert ("All is well.", "All messages sent. Nothing in the queue.") == (done.words, done.detail)
    busy = facts(waiting=Waiting(queued=3), pending=3, drains_at=NOW + timedelta(minutes=10))
    assert "3 messages are in the queue; it will be empty by about 3:40 PM." == told(busy).detail
    soon = facts(waiting=Waiting(queued=1), pending=1, drains_at=NOW)
    assert "1 message is in the queue; it will be empty within a minute." == told(soon).detail
    [inside] = now.render(facts())
    assert "can't check whether IF3 reaches it" in inside.detail


def test_what_is_worst_is_said_first() -> None:
    """A pause before what waits for a person, and that before what ends by itself."""
    waiting = Waiting(held=Bucket(count=2), failed=Bucket(count=1), looked_up=Bucket(count=1), queued=1)
    paused = Account(id="ACC1", paused_since=NOW, paused_reason=Reason("by_hand", {"note": "Holidays."}))
    refused = CheckResult(name="CallRail", condition=Condition.FAILED, detail="The key is refused.")
    head, *others = now.render(facts(waiting=waiting, account=paused, failed_checks=(refused,)))

    assert ("Problem: CallRail", "The key is refused.") == (head.words, head.detail)
    assert [
        "Sending is paused.",
        "3 messages need your review",
        "Checking with CallRail whether 1 message went out",
    ] == [point.words for point in others]
    assert "ACC1" == others[0].resume
    assert "Holidays. New messages are saved and will go out when you resume." == others[0].detail
    assert "2 on hold, 1 failed today" == others[1].detail


@pytest.mark.parametrize(
    ("found", "words", "detail"),
    [
        (
            facts(hour=Window(150, 150, NOW + timedelta(minutes=5)), pending=2),
            "Hourly limit reached (150)",
            "Sending resumes at 3:35 PM.",
        ),
        (
            facts(
                account=Account(
                    id="ACC1",
                    wait_until=NOW + timedelta(minutes=1),
                    wait_reason=Reason("by_hand", {"note": "{Busy}."}),
                )
            ),
            "Sending waits until 3:31 PM.",
            "{Busy}.",
        ),
        (
            facts(nodes=()),
            "No relay is running.",
            "No messages are received or sent. Start it with `callrail-relay serve`.",
        ),
    ],
)
def test_first_sentence_is_what_matters(found: Facts, words: str, detail: str) -> None:
    head = now.render(found)[0]
    assert (words, detail) == (head.words, head.detail)


def test_every_code_has_its_sentences() -> None:
    """On the dashboard and in `status`; with several accounts each is named."""
    assert set(Code) == set(now.SENTENCES) == {Code[name] for name in POINTS}
    # Nothing has shown that yet.
    assert "can send" not in POINTS["NO_TEXT_YET"] + now.SENTENCES[Code.NO_TEXT_YET].words
    several = replace(facts(), accounts=(*facts().accounts, *facts().accounts))
    waits = HealthPoint(code=Code.WAITS, account_id="ACC1", at=NOW, detail="Busy.")
    assert "Sending from account ACC1 waits until 3:30 PM. Busy." == point_words(waits, several)


def test_of_many_accounts_those_that_matter_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """And how many more there are; a pause is never among those left out."""
    [idle] = facts().accounts
    full = replace(idle, hour=Window(150, 150, NOW + timedelta(minutes=5)), pending=2)
    paused = replace(idle, account=Account(id="ACC9", paused_since=NOW, paused_reason=Reason("by_hand", {})))
    many = replace(facts(), accounts=(*[idle] * 500, *[full] * 500, paused))

    shown = most_pressing(many.accounts, 20)
    assert [paused, *[full] * 19] == list(shown)
    assert many.accounts[:20] == most_pressing(many.accounts[:20], 20)
    render.print_status(StatusReport(facts=many, counts={}))
    text = " ".join(capsys.readouterr().out.split())
    assert "And 981 more accounts; `callrail-relay status --json` lists every account." in text
    assert (20, True) == (text.count(" day "), "paused since" in text)


def test_since_when_it_runs_is_shown() -> None:
    """Of several servers each by its name."""
    assert "Running since 3:30 PM." == running_words(facts())
    assert "" == running_words(facts(nodes=(Node(name="new"),)))
    new = running_words(facts(nodes=(Node(name="one", since=NOW), Node(name="new"))))
    assert "Running on 2 servers: one since 3:30 PM, new." == new
    one = Node(name="one", since=NOW - timedelta(days=1), slept=Slept(3600, NOW))
    shown = running_words(facts(nodes=(one, Node(name="two", since=NOW))))
    assert (
        "Running on 2 servers: one since yesterday 3:30 PM, two since 3:30 PM. "
        "one was asleep or suspended for 60 minutes until 3:30 PM, and couldn't receive texts."
    ) == shown


def test_the_last_text_from_if3_is_shown() -> None:
    """With its day, and the version of what runs; the same words in `status`."""
    yesterday = replace(facts(), last_from_if3=NOW - timedelta(days=1))
    today = replace(facts(nodes=(Node(name="one", version="0.2.0"),)), last_from_if3=NOW)

    assert "No text from IF3 yet." == seen_lately(facts())
    assert "Last text from IF3: yesterday 3:30 PM." == seen_lately(yesterday)
    assert "Last text from IF3: today 3:30 PM. Version 0.2.0." == seen_lately(today)


# --- the way of a text -----------------------------------------------------------------------------------


def text(
    status: Status,
    *attempts: Attempt,
    reasons: tuple[Reason, ...] = (),
    decisions: tuple[Decision, ...] = (),
    release_at: datetime | None = None,
    approved: tuple[str, ...] = (),
) -> Message:
    return Message(
        id="m",
        submission_id="s",
        status=status,
        source=Source.WEBHOOK,
        received_at=NOW,
        recipient=RECIPIENT,
        text="Hello",
        route=make_route(),
        reasons=reasons,
        decisions=decisions,
        approved=approved,
        release_at=release_at,
        segments=(Segment(position=1, content="Hello", status=status, attempts=attempts),),
    )


def attempt(
    outcome: OutcomeKind | None,
    after: float,
    *,
    next_lookup_at: datetime | None = None,
    evidence: tuple[Evidence, ...] = (),
) -> Attempt:
    at = NOW + timedelta(seconds=after)
    return Attempt(
        started_at=at,
        finished_at=None if outcome is None else at + timedelta(seconds=1),
        outcome=outcome,
        http_status=None,
        detail="Said.",
        next_lookup_at=next_lookup_at,
        evidence=evidence,
    )


def test_steps_are_in_the_order_of_time() -> None:
    """Also a decision between two attempts, and evidence after the later one."""
    evidence = Evidence(noted_at=NOW + timedelta(minutes=9), detail="It is there.")
    shown = steps(
        text(
            Status.SENT,
            attempt(OutcomeKind.UNKNOWN, 1, evidence=(evidence,)),
            attempt(OutcomeKind.SENT, 300),
            decisions=(
                Decision(
                    decided_at=NOW + timedelta(seconds=200),
                    verb=Verb.RESEND,
                    actor=Actor(name="sam", note="Asked for."),
                    overridden=("x_y",),
                ),
            ),
        )
    )
    assert [
        "Received from IF3",
        "To (202) 555-0122 from (202) 555-0133",
        "No confirmation from CallRail",
        "Sam sent it again",
        "Accepted by CallRail",
        "Checked with CallRail",
    ] == [step.title for step in shown]
    assert ("Asked for.", "Overridden: x y.") == shown[3].details


def test_what_callrail_was_not_asked_for_is_not_rejected_by_it() -> None:
    shown = steps(text(Status.FAILED, attempt(OutcomeKind.REJECTED, 1)))
    assert "Can't be sent" in [step.title for step in shown]


def test_what_is_ahead_stands_at_the_end() -> None:
    """The next look-up, the hour of release, and the turn that has not come."""
    later = NOW + timedelta(minutes=5)
    unknown = steps(text(Status.UNKNOWN, attempt(OutcomeKind.UNKNOWN, 1, next_lookup_at=later)))
    assert ("Will be checked with CallRail", later, True) == (
        unknown[-1].title,
        unknown[-1].at,
        unknown[-1].ahead,
    )
    held = steps(text(Status.HELD, reasons=(Reason("quiet_hours", {"detail": "Night."}),), release_at=later))
    assert ["On hold", "Will be sent"] == [step.title for step in held[-2:]]
    queued = steps(text(Status.QUEUED, reasons=(Reason("budget", {"detail": "Full."}),)))
    assert ["Waiting", "Next: sent to CallRail"] == [step.title for step in queued[-2:]]
    sending = steps(text(Status.SENDING, attempt(None, 1)))
    assert "Being sent to CallRail" == sending[2].title
    cancelled = steps(text(Status.CANCELLED, approved=("duplicate",)))
    assert ["Approved in advance", "Canceled"] == [step.title for step in cancelled[-2:]]


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.SHADOW])
def test_what_cannot_be_done_any_more_is_not_advised(status: Status) -> None:
    """The reason is shown without its buttons."""
    shown = steps(text(status, reasons=(Reason("merge_tag", {"placeholder": "{x}"}),)))
    assert ("This message has an unfilled placeholder: {x}.",) == shown[-1].details


@pytest.mark.parametrize(
    ("content_type", "body", "shown"),
    [
        ("text/plain", b'{"a":1}', '{\n  "a": 1\n}'),
        ("application/x-www-form-urlencoded", b"a=1&b=x+y", "a = 1\nb = x y"),
        (None, b"a=1\xff", "a=1\ufffd"),
    ],
)
def test_request_is_shown_so_that_it_can_be_read(content_type: str | None, body: bytes, shown: str) -> None:
    assert shown == readable(RawSubmission(id="s", content_type=content_type, body=body))


def test_the_catalog_has_each_step_of_a_text_and_no_other() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in Path(web.__path__[0]).rglob("*.py"))
    assert set(words.STEPS) == set(re.findall(r'\bSTEPS\["(\w+)"\]', code))
