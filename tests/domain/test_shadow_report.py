"""What the report says of each text: right, late, cut, doubled, overtaking, missing, to one who opted out."""

import csv
import io
from collections.abc import Collection
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.inbound import CallRailText, Company, ShownNumber
from callrail_relay.domain.message import Message, Reason, Source, Status
from callrail_relay.domain.shadow import Compared, Finding, ShadowReport, compare
from tests.support.clock import START
from tests.support.factories import ACCOUNT, COMPANY, RECIPIENT, make_route, recipient

NOW = START + timedelta(hours=1)
WORDS = "Hi Dana, are you still thinking of selling the house at 12 Oak Street? I could come by on Tuesday."
WORDING = " Reply STOP to opt out."
LATE, GIVE_UP = timedelta(seconds=60), timedelta(minutes=15)


def came(
    seq: int, words: str = WORDS, *, at: float = 0, to: str = RECIPIENT, would_hold: tuple[str, ...] = ()
) -> Message:
    """A text that came *at* so many seconds."""
    return Message(
        id=f"text-{seq}",
        submission_id=f"request-{seq}",
        status=Status.SHADOW,
        source=Source.WEBHOOK,
        received_at=START + timedelta(seconds=at),
        recipient=to,
        text=words,
        route=make_route(),
        reasons=tuple(map(Reason, would_hold)),
    )


def shown(words: str = WORDS, *, at: float, to: str = RECIPIENT) -> CallRailText:
    number, at_time = ShownNumber(to), START + timedelta(seconds=at)
    known = {"key": f"{words} {at}", "content": words, "written_at": at_time}
    return CallRailText(source=ShownNumber(), destination=number, company_id=COMPANY, **known)  # type: ignore[arg-type]  # as its names say


def compared(
    texts: list[Message], found: list[CallRailText], unread: Collection[Company] = ()
) -> list[Compared]:
    return compare(texts, found, now=NOW, late_after=LATE, give_up_after=GIVE_UP, unread=unread)


def findings(texts: list[Message], found: list[CallRailText], unread: Collection[Company] = ()) -> list[str]:
    """Those of each text, in words."""
    return [" ".join(one.findings) for one in compared(texts, found, unread)]


def test_what_came_out_right_has_no_finding() -> None:
    """Also where CallRail appended its wording."""
    assert ["", ""] == findings(
        [came(1), came(2, to=recipient(2))], [shown(at=2), shown(WORDS + WORDING, at=3, to=recipient(2))]
    )


def test_what_is_not_shown_is_missing_or_pending() -> None:
    """By its age; of a company that could not be read nothing is said."""
    texts = [came(1), came(2, "Later", at=3500)]

    assert ["missing", "pending"] == findings(texts, [])
    assert ["", ""] == findings(texts, [], {(ACCOUNT, COMPANY)})


def test_late_is_more_than_the_span() -> None:
    """Also hours later, as by an autoreplay."""
    assert ["", "late", "late"] == findings(
        [came(number, f"Text {number}", to=recipient(number)) for number in range(3)],
        [shown(f"Text {n}", at=at, to=recipient(n)) for n, at in enumerate((60, 61, 3000))],
    )


def test_cut_is_a_beginning_alone() -> None:
    """With CallRail's wording behind it as well; another text that begins alike is none."""
    assert ["cut"] == findings([came(1)], [shown(WORDS[:40], at=1)])
    assert ["cut"] == findings([came(1)], [shown(WORDS[:40] + WORDING, at=1)])
    assert ["missing"] == findings([came(1)], [shown(WORDS[:40] + " and so on", at=1)])


def test_doubled_is_more_often_than_it_came() -> None:
    """What came twice and is shown twice is right."""
    assert ["", ""] == findings([came(1), came(2, at=10)], [shown(at=1), shown(at=11)])
    assert ["doubled"] == findings([came(1)], [shown(at=1), shown(at=400)])
    assert ["doubled", ""] == findings([came(1), came(2, at=10)], [shown(at=1), shown(at=11), shown(at=30)])
    assert ["doubled", "missing"] == findings([came(1, "Hi"), came(2, "Hi Dana")], [shown("Hi", at=1)] * 3)


def test_the_overtaking_text_is_marked() -> None:
    """Of one person alone."""
    texts = [came(1, "One"), came(2, "Two", at=1), came(3, "Three", to=recipient(2))]
    found = [shown("Two", at=3), shown("One", at=5), shown("Three", at=2, to=recipient(2))]

    assert ["", "out_of_order", ""] == findings(texts, found)


def test_to_one_who_opted_out_only_if_it_was_sent() -> None:
    """That the relay would have held it counts in any case."""
    texts = [came(1, would_hold=("opt_out",)), came(2, to=recipient(2), would_hold=("opt_out",))]
    found = compared(texts, [shown(at=1)])

    assert [(Finding.TO_OPTED_OUT,), (Finding.MISSING,)] == [one.findings for one in found]
    report = ShadowReport(since=START, until=NOW, requests={}, texts=found)
    assert (2, 1, 1, 2) == tuple(
        report.counts[name] for name in ("texts", "sent", "to_opted_out", "would_hold")
    )


def test_the_same_words_of_days_before_do_not_take_a_new_text() -> None:
    """The lost one is missing, and the new one is right."""
    texts = [came(1, "Yes", at=-90_000), came(2, "Yes", at=0)]

    assert ["missing", ""] == findings(texts, [shown("Yes", at=2)])


def test_csv_has_one_line_a_text_and_no_formula() -> None:
    """With a header; a line break stays in its cell, and what steers a terminal is written out."""
    words = ("=HYPERLINK(1)", "@SUM(1)", 'Two\nlines, "quoted"', "\x1b[31mred", "Hi; +1")
    texts = [came(n, text, to=recipient(n)) for n, text in enumerate(words)]
    found = compared([*texts, came(9, would_hold=("opt_out", "merge_tag"))], [shown(at=120)])
    report = ShadowReport(since=START, until=NOW, requests={}, texts=found)

    header, *lines = csv.reader(io.StringIO(report.csv()))

    assert ["id", "recipient", "received_at", "sent_at", "findings", "would_hold", "text"] == header
    assert ["'=HYPERLINK(1)", "'@SUM(1)", 'Two\nlines, "quoted"', "\\x1b[31mred", "Hi;' +1"] == [
        line[-1] for line in lines[:-1]
    ]
    assert ["late to_opted_out", "opt_out merge_tag", WORDS] == lines[-1][-3:]
    assert timedelta(seconds=120) == found[-1].late_by


TEXTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc")), max_size=12)


@given(TEXTS)
def test_a_perfect_zap_has_no_finding(sent: list[tuple[int, str]]) -> None:
    """Whatever comes to whomever, each sent once, in order, at once."""
    texts = [came(n, words, at=n * 10, to=recipient(to)) for n, (to, words) in enumerate(sent)]
    found = [shown(words, at=n * 10 + 1, to=recipient(to)) for n, (to, words) in enumerate(sent)]

    assert [()] * len(sent) == [one.findings for one in compared(texts, found)]
    assert all(one.sent_at is not None for one in compared(texts, found))
