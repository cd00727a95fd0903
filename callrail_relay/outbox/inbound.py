"""Ingests what CallRail's webhooks and conversations report: replies, opt-outs, and texts that were sent."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain import events
from callrail_relay.domain.account import DAY
from callrail_relay.domain.inbound import (
    SAME_MOMENT,
    SAME_TEXT,
    CallRailText,
    Direction,
    Ends,
    InboundPolicy,
    Pair,
)
from callrail_relay.domain.opt_keywords import OptKeyword, is_callrails_keyword, read_opt_keyword
from callrail_relay.domain.opt_outs import Origin, PossibleOptOut
from callrail_relay.domain.outcome import Outcome, OutcomeKind, Sent
from callrail_relay.domain.printable import printable_line, shortened
from callrail_relay.domain.reconcile import AFTER, BEFORE, FoundText, normalize, owner
from callrail_relay.outbox.lookups import SENDINGS, known_conversation, sending_of, settle_as_sent
from callrail_relay.outbox.opt_outs import add_opt_out, ask_about, settle_possible_opt_out, with_known_numbers
from callrail_relay.outbox.rows import change_account, latest, of_pair, write_account
from callrail_relay.outbox.tables import attempts, callrail_texts, messages, opt_outs
from callrail_relay.outbox.transaction import Row, Transaction

E164_LENGTH = len("+12025550122")  # all numbers that are texted are North American
SEEN = "seen:"  # the keys of texts from a conversation, which has no ids for them, begin with it


def ingest(
    tx: Transaction, texts: Sequence[CallRailText], policy: InboundPolicy, hint: Direction | None = None
) -> list[list[events.Event]]:
    """
    Store the texts that CallRail reports, each once, and act on them in the same transaction.

    The account is locked first, so a later claim sees what they say. Those of a conversation come together,
    and each matches one stored text with the same words at about the same time: two match two. Returns the
    events of each text that wasn't known.
    """
    policy = with_known_numbers(tx, policy)
    taken: set[str] = set()
    ingested = [_ingest(tx, text, policy, hint, taken) for text in texts]
    return [news for news in ingested if news is not None]


def _ingest(
    tx: Transaction, text: CallRailText, policy: InboundPolicy, hint: Direction | None, taken: set[str]
) -> list[events.Event] | None:
    """Store one text, and return its events; None if it's known."""
    account_id = policy.accounts.get(text.company_id or "")
    if account_id is not None:
        change_account(tx, account_id)
    direction = text.going(hint, policy.tracking_numbers)
    ends = text.ends(direction)
    keyword = read_opt_keyword(text.content) if direction is Direction.IN else None
    people = _people(tx, text, ends, keyword, policy.tracking_numbers)
    pair = people[0] if len(people) == 1 else None
    # CallRail's clock may be ahead, but nothing was written in the future.
    written_at = min(text.written_at or tx.now, tx.now)
    known = _find_known(tx, text, direction, written_at, pair, taken)
    if known is not None:
        taken.add(known.resource_id)
        if known.resource_id != text.key:
            changes: dict[str, object] = {} if text.seen else {"resource_id": text.key}
            if keyword is OptKeyword.STOP and known.written_at + SAME_MOMENT < written_at:
                # It may be another one with the same words, after a START. The known one takes its date, so
                # that it says nothing new when it's seen again: an opt-out that was removed by hand meanwhile
                # stays removed.
                _stop(tx, people, text.content, written_at)
                changes["written_at"] = written_at
            if changes:
                tx.change(callrail_texts, known.resource_id, **changes)
        return None
    taken.add(text.key)
    # The account that sent the latest text to them, if any did.
    senders = (tx.scalar(latest(messages.c.account_id, *of_pair(messages, *one))) for one in people)
    texted_from = next((id_ for id_ in senders if id_ is not None), None)
    account_id = account_id or texted_from
    # CallRail reports the texts of all the company's numbers; what was sent to the others isn't for us.
    may_be_ours = any(not ends.ours.excludes(number) for number in policy.tracking_numbers)
    of_ours = may_be_ours or texted_from is not None
    stored = tx.insert_into(callrail_texts).values(
        resource_id=text.key,
        direction=direction,
        written_at=written_at,
        received_at=tx.now,
        account_id=account_id,
        company_id=text.company_id,
        tracking_number=pair and pair[0],
        recipient=pair and pair[1],
        conversation_id=text.conversation_id,
        thread_id=text.thread_id,
        content=text.content if of_ours else None,
        forward_at=tx.now if of_ours and policy.forwards and direction is Direction.IN else None,
    )
    row = tx.execute(stored.on_conflict_do_nothing().returning(callrail_texts)).one_or_none()
    if row is None:
        return None
    if direction is Direction.IN:
        received = events.ReplyReceived(resource_id=text.key, account_id=account_id)
        return [received, *_apply_opt_keyword(tx, row, people, text.content)]
    settled = link_sent_text(tx, row, ends.allow)
    linked = sa.select(callrail_texts.c.attempt_id).where(callrail_texts.c.resource_id == text.key)
    is_ours = tx.scalar(linked) is not None
    return [*settled] if is_ours else [events.SentByOthers(resource_id=text.key, account_id=account_id)]


def _find_known(
    tx: Transaction,
    text: CallRailText,
    direction: Direction,
    written_at: datetime,
    pair: Pair | None,
    taken: set[str],
) -> Row | None:
    """Find the stored text that this one repeats and that isn't *taken*, also one from the other source."""
    by_key = sa.select(callrail_texts).where(callrail_texts.c.resource_id == text.key)
    found = tx.execute(by_key).one_or_none()
    if found is not None and text.key not in taken:
        return found
    same = [] if pair is None else [sa.and_(*of_pair(callrail_texts, *pair))]
    if text.conversation_id is not None:
        same.append(callrail_texts.c.conversation_id == text.conversation_id)
    if not same:
        return None
    query = sa.select(callrail_texts).where(
        sa.or_(*same),
        callrail_texts.c.direction == direction,
        callrail_texts.c.written_at.between(written_at - SAME_TEXT, written_at + SAME_TEXT),
    )
    words = normalize(text.content)
    alike = [
        row
        for row in tx.execute(query)
        if row.resource_id not in taken
        and (text.seen or row.resource_id.startswith(SEEN))
        and normalize(row.content or "") == words
    ]
    return min(alike, key=lambda row: (abs(row.written_at - written_at), row.resource_id), default=None)


def _people(
    tx: Transaction, text: CallRailText, ends: Ends, keyword: OptKeyword | None, ours: Iterable[str]
) -> list[Pair]:
    """
    Return whom a text was between: one pair, more if CallRail masks the numbers, none if no one is known.

    A masked number is found through the conversation. If that isn't known either, everyone it may belong to
    counts, but only for a text that is or may be a STOP: others change nothing.
    """
    if ends.pair is not None:
        return [ends.pair]
    of_conversation = _of_conversation(tx, text, ends)
    if of_conversation:
        return of_conversation
    person = ends.person.full
    if person is not None:
        return [(number, person) for number in sorted(ours) if not ends.ours.excludes(number)]
    may_stop = keyword in (OptKeyword.STOP, OptKeyword.MAYBE_STOP)
    return _by_endings(tx, text, ends) if may_stop else []


def _of_conversation(tx: Transaction, text: CallRailText, ends: Ends) -> list[Pair]:
    """Return the pairs that a conversation is known to be between; only those of its thread, if known."""
    if text.conversation_id is None:
        return []
    known = (
        sa.select(table.c.tracking_number, table.c.recipient, table.c.thread_id).where(
            table.c.conversation_id == text.conversation_id, table.c.recipient.is_not(None)
        )
        for table in (messages, callrail_texts)
    )
    fitting = [row for row in tx.execute(sa.union(*known)) if ends.allow((row[0], row[1]))]
    of_thread = [row for row in fitting if row.thread_id and row.thread_id == text.thread_id]
    return sorted({(row.tracking_number, row.recipient) for row in of_thread or fitting})


def _by_endings(tx: Transaction, text: CallRailText, ends: Ends) -> list[Pair]:
    """
    Return everyone texted from here whose number ends like this, in the company if it's named.

    No index covers the ends of numbers. So this steps from one existing beginning to the next, and looks for
    the one number with that beginning and this end: as many steps as there are exchanges, not texts.
    """
    ending = ends.person.ending
    begins = E164_LENGTH - len(ending)
    if not ending or begins <= 0:
        return []
    of_next = sa.select(sa.func.min(messages.c.recipient).label("one"))
    # Any number of an exchange; each step skips the rest of it.
    found = of_next.where(messages.c.recipient > "").cte("found", recursive=True)
    last_of_it = sa.func.substr(found.c.one, 1, begins).concat(sa.literal("9" * len(ending), sa.Text))
    step = of_next.where(messages.c.recipient > last_of_it).scalar_subquery()
    found = found.union_all(sa.select(step).where(found.c.one.is_not(None)))
    fitting = sa.func.substr(found.c.one, 1, begins).concat(sa.literal(ending, sa.Text))
    query = sa.select(messages.c.tracking_number, messages.c.recipient).distinct()
    query = query.join(found, messages.c.recipient == fitting).where(messages.c.tracking_number.is_not(None))
    if text.company_id is not None:
        query = query.where(messages.c.company_id == text.company_id)
    return sorted((row[0], row[1]) for row in tx.execute(query) if not ends.ours.excludes(row[0]))


def place_replies(tx: Transaction, message_seq: int) -> None:
    """Give replies by an unknown person the person of a message in their conversation, and act on them."""
    message = tx.row_of(messages, message_seq)
    unplaced = sa.select(callrail_texts).where(
        callrail_texts.c.conversation_id == message.conversation_id, callrail_texts.c.recipient.is_(None)
    )
    if message.thread_id is not None:
        thread_id = callrail_texts.c.thread_id
        unplaced = unplaced.where(sa.or_(thread_id.is_(None), thread_id == message.thread_id))
    pair = (message.tracking_number, message.recipient)
    for row in tx.execute(unplaced.order_by(callrail_texts.c.written_at)).all():
        tx.change(callrail_texts, row.resource_id, tracking_number=pair[0], recipient=pair[1])
        if row.direction == Direction.IN:
            _apply_opt_keyword(tx, row, [pair], row.content or "")


def _apply_opt_keyword(
    tx: Transaction, reply: Row, people: Sequence[Pair], content: str
) -> list[events.Event]:
    """Act on a reply's keyword for everyone it may be from; remove an opt-out only if that is certain."""
    key, written_at, keyword = reply.resource_id, reply.written_at, read_opt_keyword(content)
    if keyword is OptKeyword.STOP and not people:
        return [events.OptOutUnplaced(resource_id=key)]
    if keyword is OptKeyword.STOP:
        stopped = _stop(tx, people, content, written_at)
        return [events.OptedOut(resource_id=key, people=stopped)] if stopped else []
    if keyword is OptKeyword.MAYBE_STOP:
        question = PossibleOptOut(words=content, written_at=written_at)
        asked = [pair for pair in people if not _said(tx, pair, OptKeyword.START, after=written_at)]
        doubted = sum(ask_about(tx, *pair, question) for pair in asked)
        return [events.MaybeOptedOut(resource_id=key, people=doubted)] if doubted else []
    opted_in = keyword is not None and len(people) == 1 and _start(tx, people[0], written_at, keyword)
    return [events.OptedIn(resource_id=key)] if opted_in else []


def _stop(tx: Transaction, people: Sequence[Pair], content: str, written_at: datetime) -> int:
    """Opt *people* out, except those who said START after that: webhooks may come in any order."""
    reply = f"“{shortened(printable_line(content))}”"
    reason = f"The person replied {reply}."
    if len(people) > 1:
        masked = "CallRail masks the number, but its last digits match."
        reason = f"A reply of {reply} may be this person's: {masked}"
    origin = Origin.REPLY if is_callrails_keyword(content) else Origin.WORDS
    stopped = [pair for pair in people if not _said(tx, pair, OptKeyword.START, after=written_at)]
    for pair in stopped:
        add_opt_out(tx, *pair, reason, origin, at=written_at)
        # A START that comes late must be compared with the latest STOP.
        later = (opt_outs.c.origin != Origin.BY_HAND, opt_outs.c.created_at < written_at)
        known = sa.update(opt_outs).where(*of_pair(opt_outs, *pair), *later)
        tx.execute(known.values(created_at=written_at, origin=origin))
    return len(stopped)


def _start(tx: Transaction, pair: Pair, written_at: datetime, keyword: OptKeyword) -> bool:
    """
    Remove an opt-out, unless it was added later.

    YES undoes what CallRail did: by one of its keywords, or by refusing. Only START, which has no other
    meaning, also undoes what the person asked for in other words, or what the office added.
    """
    if keyword is OptKeyword.START:
        settle_possible_opt_out(tx, *pair, until=written_at)
    row = tx.execute(sa.select(opt_outs).where(*of_pair(opt_outs, *pair))).one_or_none()
    if row is None or _said(tx, pair, OptKeyword.STOP, after=written_at):
        return False
    # What didn't come from a reply is dated by our clock, and the reply by CallRail's.
    by_reply = row.origin in (Origin.REPLY, Origin.WORDS)
    is_later = row.created_at >= written_at if by_reply else row.created_at > written_at + BEFORE
    if is_later or (keyword is OptKeyword.YES and row.origin not in (Origin.REPLY, Origin.REFUSAL)):
        return False
    tx.execute(sa.delete(opt_outs).where(*of_pair(opt_outs, *pair)))
    return True


def _said(tx: Transaction, pair: Pair, keyword: OptKeyword, *, after: datetime) -> bool:
    """Whether the person replied so after that; for a STOP, also at the very same time."""
    written_at = callrail_texts.c.written_at
    query = sa.select(callrail_texts.c.content).where(
        *of_pair(callrail_texts, *pair),
        callrail_texts.c.direction == Direction.IN,
        written_at >= after if keyword is OptKeyword.STOP else written_at > after,
    )
    return any(read_opt_keyword(content) is keyword for content in tx.scalars(query))


def link_sent_text(tx: Transaction, text: Row, allows: Callable[[Pair], bool]) -> list[events.MessageEvent]:
    """
    Link a stored text that was sent to its attempt, and settle the attempt if its outcome is unknown.

    *allows* says which pairs fit the numbers that CallRail shows. Others sent what has no attempt: from now
    on it counts in the budget by itself, and no longer as part of CallRail's count beyond ours.
    """
    if text.account_id is None:
        return []
    account = change_account(tx, text.account_id)
    attempt = _attempt_of(tx, text, allows)
    if attempt is None:
        write_account(tx, account.explained(text.written_at))
        return []
    tx.change(callrail_texts, text.resource_id, attempt_id=attempt.id)
    # Any other one has arrived, or is in flight: its outcome comes, and `after_outcome` sees to it.
    is_unknown = attempt.outcome == OutcomeKind.UNKNOWN
    return _settle(tx, attempt.id, text) if is_unknown else []


def after_outcome(tx: Transaction, attempt_id: int, outcome: Outcome) -> list[events.MessageEvent]:
    """
    Combine an outcome with what CallRail's webhook said before it was known.

    An unknown outcome is settled. If nothing was sent, the reported text was another one: it may be that of
    another attempt with the same words.
    """
    query = sa.select(callrail_texts).where(callrail_texts.c.attempt_id == attempt_id)
    text = tx.execute(query).one_or_none()
    if text is None or isinstance(outcome, Sent):
        return []
    if outcome.kind is OutcomeKind.UNKNOWN:
        return _settle(tx, attempt_id, text)
    tx.change(callrail_texts, text.resource_id, attempt_id=None)
    person = tx.scalar(sa.select(attempts.c.recipient).where(attempts.c.id == attempt_id))
    return link_sent_text(tx, text, lambda pair: pair[1] == person)


def _attempt_of(tx: Transaction, text: Row, allows: Callable[[Pair], bool]) -> Row | None:
    """Find the attempt of a text, by CallRail's clock or else by ours: they may differ more than usual."""
    if text.content is None or text.written_at < tx.now - DAY:
        return None
    for instant in (text.written_at, text.received_at):
        candidates = {row.id: row for row in _candidates(tx, text, instant, allows)}
        sendings = [sending_of(row) for row in candidates.values()]
        found = owner(sendings, FoundText(content=text.content, created_at=instant))
        if found is not None:
            return candidates[found.attempt_id]
    return None


def _candidates(tx: Transaction, text: Row, instant: datetime, allows: Callable[[Pair], bool]) -> list[Row]:
    """Return attempts of about that time that may have arrived, and that no other text is linked to."""
    linked = callrail_texts.alias()
    query = SENDINGS.where(
        attempts.c.account_id == text.account_id,
        # An attempt counts from its start or later, so this much of the index is enough.
        attempts.c.counted_at >= instant - AFTER,
        attempts.c.started_at.between(instant - AFTER, instant + BEFORE),
        ~sa.exists().where(linked.c.attempt_id == attempts.c.id),
    )
    if text.company_id is not None:
        query = query.where(messages.c.company_id == text.company_id)
    rows: list[Row] = [*tx.execute(query)]
    if text.recipient is not None:
        pair = (text.tracking_number, text.recipient)
        return [row for row in rows if (row.tracking_number, row.recipient) == pair]
    id_ = text.conversation_id
    may_be = [
        row
        for row in rows
        if allows((row.tracking_number, row.recipient)) and len({row.conversation_id, id_} - {None}) < 2
    ]
    if id_ is not None and len({row.recipient for row in may_be}) > 1:
        # CallRail masks the number: one person's text must not confirm another's.
        may_be = [row for row in may_be if id_ in (row.conversation_id, known_conversation(tx, row))]
    return may_be if len({row.recipient for row in may_be}) == 1 else []


def _settle(tx: Transaction, attempt_id: int, text: Row) -> list[events.MessageEvent]:
    """Settle an unknown attempt as sent if it's certain whose text it is; otherwise have it looked up now."""
    if text.recipient is None:
        # Another person's number may end the same, and others may have sent them the same words.
        tx.change(attempts, attempt_id, next_lookup_at=tx.now)
        return []
    detail = f"CallRail's webhook says that it went out, at {text.written_at:%Y-%m-%dT%H:%M:%SZ}."
    if text.conversation_id is not None:
        its_message = sa.select(attempts.c.message_seq).where(attempts.c.id == attempt_id).scalar_subquery()
        first = (messages.c.seq == its_message, messages.c.conversation_id.is_(None))
        conversation = {"conversation_id": text.conversation_id, "thread_id": text.thread_id}
        tx.execute(sa.update(messages).where(*first).values(conversation))
    return settle_as_sent(tx, attempt_id, detail)
