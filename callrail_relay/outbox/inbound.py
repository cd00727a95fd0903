"""Keeping what CallRail tells of texts: replies, which may change the list of opt-outs, and what went out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain.guards import shortened
from callrail_relay.domain.inbound import (
    SAME_TEXT,
    CallRailText,
    Direction,
    Ends,
    Noted,
    Pair,
    WitnessPolicy,
)
from callrail_relay.domain.opt_keywords import OptKeyword, is_callrails_keyword, read_opt_keyword
from callrail_relay.domain.opt_outs import Origin, PossibleOptOut
from callrail_relay.domain.reconcile import BEFORE, normalise
from callrail_relay.outbox.numbers import with_known_numbers
from callrail_relay.outbox.opt_outs import ask_about, settle_possible_opt_out, suppress
from callrail_relay.outbox.rows import Row, change_account
from callrail_relay.outbox.tables import callrail_texts, messages, suppressions
from callrail_relay.outbox.witnessing import bear_witness

E164_LENGTH = len("+12025550122")
"""Of all numbers that are texted: those of North America."""

SEEN = "seen:"
"""Begins the keys of texts that were read in a conversation, where they have no ids."""


def note(
    connection: sa.Connection,
    now: datetime,
    text: CallRailText,
    policy: WitnessPolicy,
    hint: Direction | None = None,
) -> Noted:
    """
    Keep a text that CallRail tells of, once, and act on it in the same transaction.

    The account is locked first: whoever claims afterwards sees what this text says.
    """
    policy = with_known_numbers(connection, now, policy)
    account_id = policy.accounts.get(text.company_id or "")
    if account_id is not None:
        change_account(connection, now, account_id)
    direction = text.going(hint, policy.tracking_numbers)
    told = _told(now, text, direction)
    people = _people(connection, told, policy)
    values = _values(connection, now, told, people, policy)
    account_id = account_id or _account_of(connection, people)
    values["account_id"] = account_id
    if not _keep(connection, told, values, people):
        return Noted(key=text.key, direction=direction, is_new=False)
    noted = Noted(
        key=text.key,
        direction=direction,
        is_new=True,
        account_id=account_id,
        keyword=told.keyword,
        people=len(people),
    )
    if direction is Direction.IN:
        applied = _apply_opt_keyword(connection, told.keyword, people, text.content, told.written_at)
        return replace(noted, suppressed=applied.suppressed, lifted=applied.lifted, doubted=applied.doubted)
    of_this = callrail_texts.c.resource_id == text.key
    row = connection.execute(sa.select(callrail_texts).where(of_this)).one()
    settled = bear_witness(connection, now, row, told.ends.allow, policy.recipient_interval)
    attempt_id = connection.scalar(sa.select(callrail_texts.c.attempt_id).where(of_this))
    return replace(noted, settled=settled, by_others=attempt_id is None)


def note_seen(
    connection: sa.Connection, now: datetime, texts: Sequence[CallRailText], policy: WitnessPolicy
) -> list[Noted]:
    """
    Keep the replies that one conversation shows, as far as no webhook and no earlier look told of them.

    They have no ids there: each stands for one that is stored with the same words at about the same time,
    and two of the same words stand for two.
    """
    policy = with_known_numbers(connection, now, policy)
    noted: list[Noted] = []
    taken: set[str] = set()
    for text in texts:
        told = _told(now, text, Direction.IN)
        alike = _alike(connection, text, Direction.IN, told.written_at, told.ends.pair)
        known = next((row for row in alike if row.resource_id not in taken), None)
        if known is None:
            taken.add(text.key)
            noted.append(note(connection, now, text, policy))
            continue
        taken.add(known.resource_id)
        if known.written_at < told.written_at:
            account_id = policy.accounts.get(text.company_id or "")
            if account_id is not None:
                change_account(connection, now, account_id)
            _apply_again(connection, known, told, _people(connection, told, policy))
    return noted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A text with what follows from it alone."""

    text: CallRailText
    direction: Direction
    ends: Ends
    written_at: datetime
    keyword: OptKeyword | None


def _told(now: datetime, text: CallRailText, direction: Direction) -> _Told:
    return _Told(
        text=text,
        direction=direction,
        ends=text.ends(direction),
        # CallRail's clock may be ahead, and nothing was written in the future.
        written_at=min(text.written_at or now, now),
        keyword=read_opt_keyword(text.content) if direction is Direction.IN else None,
    )


def _values(
    connection: sa.Connection, now: datetime, told: _Told, people: list[Pair], policy: WitnessPolicy
) -> dict[str, object]:
    pair = people[0] if len(people) == 1 else (None, None)
    mine = _is_ours(connection, told, people, policy)
    return {
        "resource_id": told.text.key,
        "direction": told.direction,
        "written_at": told.written_at,
        "received_at": now,
        "company_id": told.text.company_id,
        "tracking_number": pair[0],
        "recipient": pair[1],
        "conversation_id": told.text.conversation_id,
        "thread_id": told.text.thread_id,
        # CallRail tells of the texts of all the company's numbers; the words of the others are not for us.
        "content": told.text.content if mine else None,
        "forward_at": now if mine and policy.forwards and told.direction is Direction.IN else None,
    }


def _is_ours(connection: sa.Connection, told: _Told, people: list[Pair], policy: WitnessPolicy) -> bool:
    """Whether the text may be of one of the numbers that texts leave from here."""
    if any(not told.ends.ours.excludes(number) for number in policy.tracking_numbers):
        return True
    return any(_account_of(connection, [pair]) is not None for pair in people)


def _keep(connection: sa.Connection, told: _Told, values: dict[str, object], people: list[Pair]) -> bool:
    """
    Store the text; False where it is stored already, under its own id or as it was seen in a conversation.
    """
    known = sa.select(callrail_texts.c.resource_id).where(callrail_texts.c.resource_id == told.text.key)
    if connection.execute(known).first() is not None:
        return False
    if not told.text.seen:
        pair = (values["tracking_number"], values["recipient"])
        alike = _alike(connection, told.text, told.direction, told.written_at, pair)
        seen = [row for row in alike if row.resource_id.startswith(SEEN)]
        if seen:
            _apply_again(connection, seen[0], told, people)
            # From now on it has its own id, so that a repeat is known by it.
            connection.execute(
                sa.update(callrail_texts)
                .where(callrail_texts.c.resource_id == seen[0].resource_id)
                .values(resource_id=told.text.key)
            )
            return False
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    kept = (
        insert(callrail_texts).values(values).on_conflict_do_nothing().returning(callrail_texts.c.resource_id)
    )
    return connection.execute(kept).first() is not None


def _alike(
    connection: sa.Connection,
    text: CallRailText,
    direction: Direction,
    written_at: datetime,
    pair: tuple[object, object] | None,
) -> list[Row]:
    """What is stored of the same conversation with the same words at about the same time, nearest first."""
    same = callrail_texts.c.conversation_id == text.conversation_id
    if pair is not None:
        between = (callrail_texts.c.tracking_number == pair[0], callrail_texts.c.recipient == pair[1])
        same = sa.or_(same, sa.and_(*between))
    query = sa.select(callrail_texts).where(
        same,
        callrail_texts.c.direction == direction,
        callrail_texts.c.written_at.between(written_at - SAME_TEXT, written_at + SAME_TEXT),
    )
    words = normalise(text.content)
    rows = [row for row in connection.execute(query) if normalise(row.content or "") == words]
    # The very same first, then the nearest.
    return sorted(
        rows, key=lambda row: (row.resource_id != text.key, abs(row.written_at - written_at), row.resource_id)
    )


def _people(connection: sa.Connection, told: _Told, policy: WitnessPolicy) -> list[Pair]:
    """
    Between whom a text was: one pair, unless CallRail masks the numbers; none where nobody is known.

    A masked number is found by the conversation. Where that is not known here either, all count to whom
    it may belong, but only where the text is a STOP, or may be one: to nobody else it does anything.
    """
    if told.ends.pair is not None:
        return [told.ends.pair]
    of_conversation = _of_conversation(connection, told)
    if of_conversation:
        return of_conversation
    person = told.ends.person.full
    if person is not None:
        ours = [(number, person) for number in sorted(policy.tracking_numbers)]
        return [pair for pair in ours if not told.ends.ours.excludes(pair[0])]
    may_stop = told.keyword in (OptKeyword.STOP, OptKeyword.MAYBE_STOP)
    return _by_endings(connection, told) if may_stop else []


def _of_conversation(connection: sa.Connection, told: _Told) -> list[Pair]:
    """The pairs of a conversation as far as they are known here; of its thread alone where that is known."""
    conversation_id = told.text.conversation_id
    if conversation_id is None:
        return []
    found: set[tuple[Pair, str | None]] = set()
    for table in (messages, callrail_texts):
        query = (
            sa.select(table.c.tracking_number, table.c.recipient, table.c.thread_id)
            .where(table.c.conversation_id == conversation_id, table.c.recipient.is_not(None))
            .distinct()
        )
        found |= {((row[0], row[1]), row[2]) for row in connection.execute(query)}
    fitting = {(pair, thread_id) for pair, thread_id in found if told.ends.allow(pair)}
    of_thread = {pair for pair, thread_id in fitting if thread_id and thread_id == told.text.thread_id}
    return sorted(of_thread or {pair for pair, _ in fitting})


def _by_endings(connection: sa.Connection, told: _Told) -> list[Pair]:
    """
    Everybody texted from here to whom the last digits fit, in the company where it is named.

    No index holds numbers by their ends. So it goes from one beginning that occurs to the next, and asks for
    the one number that has it and this end: that takes as many steps as there are exchanges, not texts.
    """
    ours, ending = told.ends.ours, told.ends.person.ending
    begins = E164_LENGTH - len(ending)
    if not ending or begins <= 0:
        return []
    of_next = sa.select(sa.func.min(messages.c.recipient).label("one"))
    # Any of the people of an exchange; each step passes over all the others.
    found = of_next.where(messages.c.recipient > "").cte("found", recursive=True)
    last_of_it = sa.func.substr(found.c.one, 1, begins).concat(sa.literal("9" * len(ending), sa.Text))
    step = of_next.where(messages.c.recipient > last_of_it).scalar_subquery()
    found = found.union_all(sa.select(step).where(found.c.one.is_not(None)))
    fitting = sa.func.substr(found.c.one, 1, begins).concat(sa.literal(ending, sa.Text))
    query = (
        sa.select(messages.c.tracking_number, messages.c.recipient)
        .join(found, messages.c.recipient == fitting)
        .where(messages.c.tracking_number.is_not(None))
        .distinct()
    )
    if told.text.company_id is not None:
        query = query.where(messages.c.company_id == told.text.company_id)
    pairs = ((row[0], row[1]) for row in connection.execute(query))
    return sorted(pair for pair in pairs if not ours.excludes(pair[0]))


def _account_of(connection: sa.Connection, people: Iterable[Pair]) -> str | None:
    """The account that the latest text to these people left from, where one did."""
    for tracking_number, recipient in people:
        query = (
            sa.select(messages.c.account_id)
            .where(messages.c.recipient == recipient, messages.c.tracking_number == tracking_number)
            .order_by(messages.c.seq.desc())
            .limit(1)
        )
        account_id: str | None = connection.scalar(query)
        if account_id is not None:
            return account_id
    return None


def place(connection: sa.Connection, now: datetime, message_seq: int) -> None:
    """
    Give replies whose person was not known the one of a message that turns out to be of their conversation.

    What they say about being texted counts from now on.
    """
    message = connection.execute(sa.select(messages).where(messages.c.seq == message_seq)).one()
    nobodys = sa.select(callrail_texts).where(
        callrail_texts.c.conversation_id == message.conversation_id, callrail_texts.c.recipient.is_(None)
    )
    if message.thread_id is not None:
        thread_id = callrail_texts.c.thread_id
        nobodys = nobodys.where(sa.or_(thread_id.is_(None), thread_id == message.thread_id))
    pair = (message.tracking_number, message.recipient)
    for row in connection.execute(nobodys.order_by(callrail_texts.c.written_at)).all():
        connection.execute(
            sa.update(callrail_texts)
            .where(callrail_texts.c.resource_id == row.resource_id)
            .values(tracking_number=pair[0], recipient=pair[1])
        )
        if row.direction == Direction.IN:
            keyword = read_opt_keyword(row.content)
            _apply_opt_keyword(connection, keyword, [pair], row.content or "", row.written_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """How many pairs are on the list by a reply, how many left it, and of how many the owner is asked."""

    suppressed: int = 0
    lifted: int = 0
    doubted: int = 0


def _apply_opt_keyword(
    connection: sa.Connection,
    keyword: OptKeyword | None,
    people: list[Pair],
    content: str,
    written_at: datetime,
) -> _Applied:
    """
    Do what a reply asks for.

    Where several people may be meant, all of them are put on the list or asked about, and none is taken off.
    """
    is_sure = len(people) == 1
    if keyword is OptKeyword.STOP:
        stopped = sum(_stop(connection, pair, content, written_at, is_sure=is_sure) for pair in people)
        return _Applied(suppressed=stopped)
    if keyword is OptKeyword.MAYBE_STOP:
        reply = PossibleOptOut(words=content, written_at=written_at)
        return _Applied(doubted=sum(_ask(connection, pair, reply) for pair in people))
    if keyword is None or not is_sure:
        return _Applied()
    return _Applied(lifted=int(_start(connection, people[0], written_at, keyword)))


def _apply_again(connection: sa.Connection, known: Row, told: _Told, people: list[Pair]) -> None:
    """
    Apply a STOP that looks like the *known* one: it may be another of the same words, after a START.

    The known one is dated by the later of the two. So the same text, seen again, says nothing new: who was
    taken off the list by hand meanwhile stays off it.
    """
    if told.keyword is not OptKeyword.STOP:
        return
    _apply_opt_keyword(connection, told.keyword, people, told.text.content, told.written_at)
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == known.resource_id)
        .values(written_at=max(known.written_at, told.written_at))
    )


def _stop(
    connection: sa.Connection, pair: Pair, content: str, written_at: datetime, *, is_sure: bool
) -> bool:
    """Put a pair on the list, unless the person said START after that: webhooks may come in any order."""
    if _said(connection, pair, OptKeyword.START, after=written_at):
        return False
    reason = (
        f"The person replied “{shortened(content)}”."
        if is_sure
        else f"A reply of “{shortened(content)}” may be this person's: CallRail masks its number, and the "
        "last digits fit."
    )
    origin = Origin.REPLY if is_callrails_keyword(content) else Origin.WORDS
    suppress(connection, written_at, *pair, reason, origin)
    # A later STOP is what an earlier START that comes late is compared with.
    connection.execute(
        sa.update(suppressions)
        .where(*_of(pair), suppressions.c.origin != Origin.BY_HAND, suppressions.c.created_at < written_at)
        .values(created_at=written_at, origin=origin)
    )
    return True


def _ask(connection: sa.Connection, pair: Pair, reply: PossibleOptOut) -> bool:
    """Have the owner asked about a reply, unless the person said START after that."""
    if _said(connection, pair, OptKeyword.START, after=reply.written_at):
        return False
    return ask_about(connection, *pair, reply)


def _start(connection: sa.Connection, pair: Pair, written_at: datetime, keyword: OptKeyword) -> bool:
    """
    Take a pair off the list, unless it was put there after that.

    YES undoes what CallRail did: by one of its keywords, or by refusing. Only START, which means nothing
    else, also undoes what the person asked for in other words, or what the office put there.
    """
    if keyword is OptKeyword.START:
        settle_possible_opt_out(connection, *pair, until=written_at)
    row = connection.execute(sa.select(suppressions).where(*_of(pair))).one_or_none()
    if row is None or _said(connection, pair, OptKeyword.STOP, after=written_at):
        return False
    if row.origin in (Origin.REPLY, Origin.WORDS):
        if row.created_at >= written_at:
            return False
    elif row.created_at > written_at + BEFORE:
        # Dated by our clock, and the reply by CallRail's.
        return False
    if keyword is OptKeyword.YES and row.origin not in (Origin.REPLY, Origin.REFUSAL):
        return False
    connection.execute(sa.delete(suppressions).where(*_of(pair)))
    return True


def _said(connection: sa.Connection, pair: Pair, keyword: OptKeyword, *, after: datetime) -> bool:
    """Whether the person replied so after that; a STOP also at the very same time."""
    later = (
        callrail_texts.c.written_at >= after
        if keyword is OptKeyword.STOP
        else callrail_texts.c.written_at > after
    )
    query = sa.select(callrail_texts.c.content).where(
        callrail_texts.c.tracking_number == pair[0],
        callrail_texts.c.recipient == pair[1],
        callrail_texts.c.direction == Direction.IN,
        later,
    )
    return any(read_opt_keyword(content) is keyword for content in connection.scalars(query))


def _of(pair: Pair) -> tuple[sa.ColumnElement[bool], ...]:
    return suppressions.c.tracking_number == pair[0], suppressions.c.recipient == pair[1]
