"""*Needs review*: what waits for a person, alike texts together, and what is decided on many at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starlette.responses import Response

from callrail_relay.domain.guards import are_similar, similarity_words
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.message import Verb as Decided
from callrail_relay.domain.views import MessageSummary
from callrail_relay.errors import RelayError
from callrail_relay.sentences import plural
from callrail_relay.web.dashboard.actions import (
    ACTOR,
    APPROVE,
    CANCEL,
    DOUBTFUL,
    RESEND,
    UNDOABLE,
    Verb,
    allowed,
)
from callrail_relay.web.dashboard.frame import Visit, own_address

SHOWN = 60
"""Rows of one kind that the page shows at most."""

MOST_UNTYPED = 10
"""A decision on more texts wants their number typed."""

OPTED_OUT = {"opt_out", "maybe_opted_out"}
BULK = {verb.name: verb for verb in UNDOABLE}


class Group(NamedTuple):
    """Texts of one wording that wait for the same reason, the newest first."""

    rows: list[MessageSummary]

    @property
    def first(self) -> MessageSummary:
        return self.rows[0]

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def is_mass(self) -> bool:
        return any(reason.code == "mass_text" for reason in self.first.reasons)


def grouped(rows: Iterable[MessageSummary]) -> list[Group]:
    """Put together what one person would decide alike, in the order of the newest of each."""
    groups: list[Group] = []
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for row in rows:
        codes = (row.status, row.opted_out, *sorted(reason.code for reason in row.reasons))
        group = next((one for one in alike[codes] if _same_wording(one.first, row)), None)
        if group is None:
            group = Group([])
            groups.append(group)
            alike[codes].append(group)
        group.rows.append(row)
    return groups


def _same_wording(one: MessageSummary, other: MessageSummary) -> bool:
    words, others = (similarity_words(row.text or "", row.seller) for row in (one, other))
    if words is None or others is None:
        return one.text is not None and one.text == other.text
    return are_similar(words, others)


def doubtful(reasons: Iterable[Reason]) -> bool:
    return any(reason.code in DOUBTFUL for reason in reasons)


async def show(visit: Visit) -> Response:
    waiting = await visit.dashboard.history.waiting(SHOWN)
    kinds = (
        ("On hold", "held", waiting.held),
        ("Unconfirmed", "unknown", waiting.unknown),
        ("Failed in the last 24 hours", "failed", waiting.failed),
    )
    return await visit.draw(
        "review.html",
        for_person=waiting.for_person,
        kinds=[(title, status, bucket.count, grouped(bucket.rows)) for title, status, bucket in kinds],
        looked_up=waiting.looked_up,
        shown=SHOWN,
        allowed=allowed,
        doubtful=doubtful,
    )


async def act(visit: Visit) -> Response:
    """Ask how many texts it is about, and do it once the person has said so."""
    verb, like = BULK.get(visit.form.get("verb", "")), visit.form.get("like", "")
    if verb is None:
        return visit.back("Choose what to do with the messages.", "/review", fault=True)
    try:
        rows, left_out = await _chosen(visit, verb, like)
    except RelayError as error:
        return visit.back(str(error), "/review", fault=True)
    if not rows:
        opted_out = " People who opted out are left out." if left_out else ""
        return visit.back(f"None of these can be changed so.{opted_out}", "/review", fault=True)
    sure, typed = "sure" in visit.form, visit.form.get("count", "").replace(",", "").strip()
    if not sure or (len(rows) > MOST_UNTYPED and typed != str(len(rows))):
        return await visit.draw(
            "bulk.html",
            422 if sure else 200,
            verb=verb,
            rows=rows,
            like=like,
            left_out=left_out,
            typed=typed,
            fault=f"Type {len(rows):,} to go on." if sure else "",
            must_type=len(rows) > MOST_UNTYPED,
            still=True,  # it answers a form, so no look at its address would show it again
            asked_from=own_address(visit.form.get("back", ""), "/review"),
        )
    click, ids = verb.click(), [row.id for row in rows]
    done = await visit.dashboard.operations.decide_all(Decided(verb.name), ids, ACTOR, click)
    visit.dashboard.wake()
    visit.dashboard.signal()
    words = {APPROVE: "queued to send", RESEND: "queued to send again", CANCEL: "canceled"}[verb]
    late = f" {plural(len(ids) - done, 'other')} changed meanwhile." if done < len(ids) else ""
    return visit.back(f"{plural(done, 'message')} {words}.{late}", "/review", undo=click)


async def _chosen(visit: Visit, verb: Verb, like: str) -> tuple[Sequence[MessageSummary], int]:
    """The texts that are meant and may be changed so, and how many are left out for an opt-out."""
    ids = visit.form["id"].split()
    if like:
        ids = await visit.dashboard.operations.held_alike(like)
    elif not ids:
        raise RelayError("Choose at least one message.")
    found = await visit.dashboard.history.rows(list(dict.fromkeys(ids)))
    out = {row.id for row in found if row.opted_out or OPTED_OUT & {one.code for one in row.reasons}}

    def possible(row: MessageSummary) -> bool:
        if (verb.sends and row.id in out) or (verb is RESEND and row.status is Status.UNKNOWN):
            return False  # what may have arrived is sent again one by one
        facts = {"complete": row.complete, "opted_out": row.opted_out}
        return verb in allowed(row.status, row.source, row.reasons, **facts)

    return list(filter(possible, found)), len(out) if verb.sends else 0
