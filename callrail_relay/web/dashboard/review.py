"""*Needs review*: what waits for a person, similar texts together, and decisions on many at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from starlette.responses import Response

from callrail_relay.domain.guards import are_similar, similarity_words
from callrail_relay.domain.message import Verb as Decided
from callrail_relay.domain.views import MessageSummary
from callrail_relay.errors import NotAllowed
from callrail_relay.sentences import plural
from callrail_relay.web.dashboard.frame import Visit, own_address
from callrail_relay.web.dashboard.verbs import VERBS, Verb, codes, in_bulk, is_out
from callrail_relay.web.dashboard.words import WORDS, say

SHOWN = 60  # rows of one kind that the page shows at most
MOST_UNTYPED = 10  # a decision on more texts wants their number typed


Group = list[MessageSummary]  # texts with one wording that wait for the same reason, newest first


def grouped(rows: Iterable[MessageSummary]) -> list[Group]:
    """Group what one person would decide alike, in the order of the newest of each."""
    groups: list[Group] = []
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for row in rows:
        why = (row.status, row.opted_out, *sorted(codes(row)))
        group = next((one for one in alike[why] if _same_wording(one[0], row)), None)
        if group is None:
            group = []
            groups.append(group)
            alike[why].append(group)
        group.append(row)
    return groups


def _same_wording(one: MessageSummary, other: MessageSummary) -> bool:
    words, others = (similarity_words(row.text or "", row.seller) for row in (one, other))
    if words is None or others is None:
        return one.text is not None and one.text == other.text
    return are_similar(words, others)


async def show(visit: Visit) -> Response:
    waiting = await visit.dashboard.history.waiting(SHOWN)
    kinds = ((title, name, getattr(waiting, name)) for name, title in WORDS["kinds"].items())
    return await visit.draw(
        "review.html",
        for_person=waiting.for_person,
        kinds=[(title, name, bucket.count, grouped(bucket.rows)) for title, name, bucket in kinds],
        looked_up=waiting.looked_up,
        shown=SHOWN,
    )


async def act(visit: Visit) -> Response:
    """Ask how many texts it's about, and do it once the person has said so."""
    verb, like = VERBS.get(visit.form.get("verb", "")), visit.form.get("like", "")
    if verb is None or not verb.many:
        raise NotAllowed(say("bulk_no_verb"))
    rows, left_out = await _chosen(visit, verb, like)
    if not rows:
        raise NotAllowed(say("bulk_opted_out") if left_out else say("bulk_nothing"))
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
            fault=say("bulk_type", count=len(rows)) if sure else "",
            must_type=len(rows) > MOST_UNTYPED,
            still=True,  # it answers a form, so looking at its address wouldn't show it again
            asked_from=own_address(visit.form.get("back", ""), "/review"),
        )
    actor, ids = verb.actor(visit.who), [row.id for row in rows]
    done = await visit.dashboard.operations.decide_all(Decided(verb.name), ids, actor)
    words = verb.done_many.format(messages=plural(done, "message"))
    missed = (len(visit.form["id"].split()) or len(ids)) - done  # of those that the person confirmed
    others = say("bulk_others", others=plural(missed, "other")) if missed else ""
    return visit.back(words + others, undo=actor.batch)


async def _chosen(visit: Visit, verb: Verb, like: str) -> tuple[Sequence[MessageSummary], int]:
    """Return the chosen texts that may be changed this way, and how many an opt-out leaves out."""
    if like:
        found = await visit.dashboard.operations.held_alike(like)
    elif ids := visit.form["id"].split():
        found = await visit.dashboard.history.rows(list(dict.fromkeys(ids)))
    else:
        raise NotAllowed(say("bulk_no_ids"))
    left_out = sum(map(is_out, found)) if verb.sends else 0
    return [row for row in found if verb in in_bulk(row)], left_out
