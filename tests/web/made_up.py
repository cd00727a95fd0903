"""A made-up office: people, texts and what became of them. All numbers are 555-01xx, all names invented."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.domain.message import Reason, uuid7
from callrail_relay.outbox.accept import ensure_account
from callrail_relay.outbox.engine import open_engine
from callrail_relay.outbox.schema import migrate
from callrail_relay.outbox.tables import (
    attempts,
    callrail_texts,
    evidence,
    forwards,
    messages,
    segments,
    shadow,
    submissions,
)
from callrail_relay.outbox.tables import decisions as decided
from callrail_relay.outbox.transaction import Transaction

FIRST = ("Dana", "Alex", "Robin", "Morgan", "Jamie", "Casey", "Taylor", "Jordan", "Riley", "Quinn", "Avery")
LAST = (
    "Marsh",
    "Whitfield",
    "Okafor",
    "Lindgren",
    "Castillo",
    "Bauer",
    "Nakamura",
    "Ellison",
    "Reyes",
    "Holt",
)
STREETS = ("Oak St", "Elm Ave", "Birch Ln", "Mill Rd", "Lake Dr", "Park Pl", "Cedar Ct", "Hill St")
WORDS = (
    "Hi {first}, are you still thinking of selling {place}?",
    "Thanks for the call today, {first}. I'll send the offer for {place} by Friday.",
    "{first}, can we come by {place} on Thursday at 10?",
    "Just checking in about {place}. Any questions about our offer?",
    "Good news: we can close on {place} before the end of the month.",
    "Hi {first}, it's Sam from Lakeside Home Buyers. Is this still the best number for you?",
)
AREAS = (202, 303, 312, 404, 415, 503, 512, 602, 615, 704, 713, 816)


@dataclass(frozen=True, kw_only=True)
class Person:
    first: str
    name: str
    phone: str
    place: str


def person(number: int) -> Person:
    """Person *number*, always the same."""
    chance = Random(number)
    first = chance.choice(FIRST)
    return Person(
        first=first,
        name=f"{first} {chance.choice(LAST)}",
        phone=f"+1{AREAS[number // 100 % len(AREAS)]}55501{number % 100:02}",
        place=f"{chance.randint(2, 980)} {chance.choice(STREETS)}",
    )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A text to be written; *tries* are outcome, answer and detail of each attempt."""

    at: datetime
    status: str
    who: Person
    words: str | None = None
    reasons: Sequence[Reason] = ()
    tries: Sequence[tuple[str, int | None, str]] = ()
    next_lookup_at: datetime | None = None
    evidence: Sequence[tuple[datetime, str]] = ()
    decisions: Sequence[dict[str, Any]] = ()
    passed_on: str = "forwarded"


class Office:
    """Writes its history straight into a store, as no relay could in so short a time."""

    def __init__(self, context: AppContext, *, seed: int = 7) -> None:
        [route] = set(context.settings.routes_table())
        self._route = route
        self._url = context.settings.database.url
        self._chance = Random(seed)
        self._number = 0
        self._planned: list[Planned] = []
        self._rows: dict[sa.Table, list[dict[str, Any]]] = {
            table: []
            for table in (
                *(submissions, messages, decided, segments, attempts, evidence, callrail_texts),
                *(forwards, shadow),
            )
        }

    def fill(self, now: datetime, count: int, *, days: float) -> None:
        """*count* texts of the last *days*, most of them in office hours and nearly all of them sent."""
        for at in self._instants(now, count, days):
            status = self._chance.choices(("sent", "failed", "cancelled"), (970, 18, 12))[0]
            self.text(at, status, who=person(self._chance.randrange(900)))

    def _instants(self, now: datetime, count: int, days: float) -> Sequence[datetime]:
        found: list[datetime] = []
        while len(found) < count:
            at = now - timedelta(days=days * self._chance.random(), minutes=2)
            local = at.astimezone()
            likely = (0.25 if local.weekday() >= 5 else 1.0) * (1.0 if 9 <= local.hour < 18 else 0.04)
            if self._chance.random() < likely:
                found.append(at)
        return sorted(found)

    def text(self, at: datetime, status: str, *, who: Person, **facts: Any) -> "Planned":  # noqa: ANN401 - fields of Planned
        """One text, with the facts that Planned names."""
        planned = Planned(at=at, status=status, who=who, **facts)
        self._planned.append(planned)
        return planned

    def _realise(self, text: "Planned") -> None:
        self._number += 1
        number, chance = self._number, self._chance
        at, status, who, tries, reasons = text.at, text.status, text.who, text.tries, text.reasons
        words = text.words or chance.choice(WORDS).format(first=who.first, place=who.place)
        id_ = uuid7(at, chance)
        body = {
            "opportunity_id": 100_000 + number % 5000,
            "message": words,
            "sender_id": chance.choice((71, 72, 75)),
            "seller_id": 4000 + number % 900,
            "seller": who.name,
            "seller_phone": who.phone,
            "seller_phone_non_international": who.phone[2:],
            "team_id": 42,
        }
        submission = uuid7(at, chance)
        self._rows[submissions].append(
            {
                "id": submission,
                "source": "webhook",
                "received_at": at,
                "content_type": "application/json",
                "query": None,
                "body": json.dumps(body).encode(),
            }
        )
        if not tries and status in ("sent", "failed", "unknown"):
            tries = (_USUAL[status],)
        if not reasons and status == "failed":
            reasons = (
                Reason("refused", {"http_status": 400, "detail": "This number cannot receive texts."}),
            )
        self._rows[messages].append(
            {
                "seq": number,
                "id": id_,
                "submission_id": submission,
                "status": status,
                "source": "webhook",
                "received_at": at,
                "not_before": at,
                "recipient": who.phone,
                "text": words,
                "account_id": self._route.account_id,
                "company_id": self._route.company_id,
                "tracking_number": self._route.tracking_number,
                "segment_count": 1,
                "reasons": reasons,
                "approved": [],
                "opportunity_id": str(body["opportunity_id"]),
                "sender_id": str(body["sender_id"]),
                "seller_id": str(body["seller_id"]),
                "seller": who.name,
                "team_id": "42",
                "sent_at": at + timedelta(seconds=2) if status == "sent" else None,
                "conversation_id": f"c{number % 900}" if status == "sent" else None,
                "thread_id": None,
            }
        )
        if status == "shadow":
            passed = {"submission_id": submission, "state": text.passed_on, "received_at": at, "tries": 1}
            self._rows[forwards].append(passed)
        for decision in text.decisions:
            self._rows[decided].append({"message_seq": number, "note": None} | decision)
        if tries:
            self._attempts(number, text, words, tries)

    def _attempts(
        self, number: int, text: "Planned", words: str, tries: Sequence[tuple[str, int | None, str]]
    ) -> None:
        at, who, status = text.at, text.who, text.status
        self._rows[segments].append(
            {"id": number, "message_seq": number, "position": 1, "content": words, "status": status}
        )
        for outcome, answer, detail in tries:
            begun = at + timedelta(seconds=1)
            ended = begun + timedelta(seconds=60 if outcome == "Unknown" else 0.6)
            self._rows[attempts].append(
                {
                    "id": len(self._rows[attempts]) + 1,
                    "segment_id": number,
                    "message_seq": number,
                    "account_id": self._route.account_id,
                    "tracking_number": self._route.tracking_number,
                    "recipient": who.phone,
                    "node": "made-up",
                    "started_at": begun,
                    "lease_until": begun + timedelta(seconds=75),
                    "finished_at": ended,
                    "counted_at": None if outcome == "NotSent" else ended,
                    "outcome": outcome,
                    "http_status": answer,
                    "detail": detail,
                    "next_lookup_at": text.next_lookup_at,
                }
            )
            at = ended + timedelta(seconds=4)
        for noted_at, detail in text.evidence:
            self._rows[evidence].append(
                {
                    "attempt_id": len(self._rows[attempts]),
                    "account_id": self._route.account_id,
                    "noted_at": noted_at,
                    "detail": detail,
                    "requests": 2,
                }
            )

    def reply(self, at: datetime, who: Person, words: str, *, inbound: bool = True) -> None:
        self._rows[callrail_texts].append(
            {
                "resource_id": f"SCI{len(self._rows[callrail_texts]):032x}",
                "direction": "in" if inbound else "out",
                "written_at": at,
                "received_at": at,
                "account_id": self._route.account_id,
                "company_id": self._route.company_id,
                "tracking_number": self._route.tracking_number,
                "recipient": who.phone,
                "content": words,
            }
        )

    def begin_shadow(self, at: datetime) -> None:
        row = {
            "id": 1,
            "mode": "shadow",
            "since": at,
            "forward_to": "https://hooks.zapier.com/hooks/catch/1/a",
        }
        self._rows[shadow].append(row)

    def write(self) -> None:
        """Put all of it into the store."""
        for text in sorted(self._planned, key=lambda text: text.at):
            self._realise(text)
        engine = open_engine(self._url)
        migrate(engine)
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            for table, rows in self._rows.items():
                for start in range(0, len(rows), 5000):
                    connection.execute(sa.insert(table), rows[start : start + 5000])
            # As intake does: without it nothing is sent before the first text comes in.
            ensure_account(Transaction(connection, datetime.now(UTC)), self._route.account_id)
        engine.dispose()


_USUAL: dict[str, tuple[str, int | None, str]] = {
    "sent": ("Sent", 200, "CallRail accepted the text."),
    "failed": ("Rejected", 400, "This number cannot receive texts."),
    "unknown": ("Unknown", None, "CallRail did not answer within 60 seconds."),
}


def a_day(office: Office, now: datetime) -> None:
    """What a page should be able to show of one day: each status, and a conversation."""

    def ago(**length: float) -> datetime:
        return now - timedelta(**length)

    dana = person(22)
    for back, words in (
        (4.1, "Hi {first}, it's Sam from Lakeside Home Buyers. Are you still thinking of selling {place}?"),
        (3.9, "No pressure at all. We buy as it is, and you choose the day."),
        (1.2, "Could we come by {place} on Thursday at 10?"),
    ):
        office.text(ago(days=back), "sent", who=dana, words=words.format(first=dana.first, place=dana.place))
    office.reply(ago(days=4.0), dana, "Maybe. What would you pay?")
    office.reply(ago(days=1.15), dana, "Thursday works. 10 is early though, 11?")
    office.reply(ago(days=1.1), dana, "11 it is. See you then!", inbound=False)
    office.text(
        ago(minutes=96),
        "sent",
        who=dana,
        words="Reminder: Thursday at 11. I'll bring the papers.",
        decisions=(
            {"decided_at": ago(minutes=95.9), "verb": "approve", "person": "Sam", "reasons": ["duplicate"]},
        ),
        tries=(
            ("NotSent", None, "No connection to api.callrail.com could be made."),
            ("Sent", 200, "CallRail accepted the text."),
        ),
    )
    office.text(
        ago(minutes=41),
        "held",
        who=person(31),
        words="Hi {{seller_first_name}}, are you still thinking of selling your house?",
        reasons=(Reason("merge_tag", {"placeholder": "{{seller_first_name}}"}),),
    )
    office.text(
        ago(hours=5, minutes=12),
        "held",
        who=person(57),
        words="Our offer for 77 Birch Ln stands until Friday.",
        reasons=(Reason("too_old", {"max_age_seconds": 14_400}),),
    )
    for number in range(4):
        who = person(140 + number)
        office.text(
            ago(minutes=25 - number),
            "held",
            who=who,
            words=f"Hi {who.first}, are you still open to an offer for your place on {who.place}?",
            reasons=(Reason("mass_text", {"people": 5, "window_seconds": 600.0}),),
        )
    office.text(
        ago(minutes=33),
        "unknown",
        who=person(64),
        words="Thanks for the call today. I'll send the offer for 140 Mill Rd by Friday.",
        reasons=(Reason("unknown", {"problem": "not_shown"}),),
        evidence=[
            (ago(minutes=32 - minutes), "CallRail's conversation does not show it yet.") for minutes in (1, 5)
        ],
    )
    office.text(ago(hours=3), "failed", who=person(71))
    for minute in range(6):
        office.text(ago(seconds=50 - minute * 6), "queued", who=person(100 + minute))


@dataclass(frozen=True, kw_only=True)
class SentByZap:
    at: datetime
    who: Person
    words: str


def beside_a_zap(office: Office, now: datetime, count: int = 240) -> list[SentByZap]:
    """Six days in shadow: *count* texts that came, and those that the Zap sent, each finding among them."""
    office.begin_shadow(now - timedelta(days=6))
    chance, sent = Random(11), list[SentByZap]()
    opted_out, held = Reason("opt_out"), Reason("merge_tag", {"placeholder": "{{seller_first_name}}"})

    def comes(number: int, at: datetime, *, after: float | None = 2.0, **facts: Any) -> SentByZap:  # noqa: ANN401 - fields of Planned
        who = person(number)
        words = chance.choice(WORDS).format(first=who.first, place=who.place)
        office.text(at, "shadow", who=who, **{"words": words} | facts)
        zap = SentByZap(at=at + timedelta(seconds=after or 0), who=who, words=facts.get("words", words))
        if after is not None:
            sent.append(zap)
        return zap

    for number in range(count):
        comes(300 + number, now - timedelta(days=6 * (1 - number / count), minutes=-20))
    for number, hours in ((1, 5), (2, 30), (3, 77)):
        comes(
            number,
            now - timedelta(hours=hours),
            after=None,
            passed_on="unknown" if number == 3 else "forwarded",
        )
    twice = comes(4, now - timedelta(hours=2))
    sent.append(replace(twice, at=twice.at + timedelta(seconds=40)))
    cut = comes(5, now - timedelta(hours=26))
    sent[-1] = replace(cut, words=cut.words[:22])
    comes(6, now - timedelta(hours=50), after=1.0, reasons=(opted_out,))
    comes(
        7, now - timedelta(hours=8), reasons=(held,), words="Hi {{seller_first_name}}, is it still for sale?"
    )
    for number, late in ((8, 95.0), (9, 260.0), (10, 5400.0)):
        comes(number, now - timedelta(hours=3 * number), after=late)
    comes(11, now - timedelta(hours=9), after=50)
    comes(11, now - timedelta(hours=9, seconds=-10), words="I forgot: Thursday at 10, or at 11?")
    comes(12, now - timedelta(minutes=3), after=None)
    comes(13, now - timedelta(hours=10), after=None, passed_on="refused")
    return sent
