"""What a person can look at and decide: texts, accounts and opt-outs."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any

from callrail_relay import __version__
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Facts
from callrail_relay.domain.mapper import MappingPolicy, map_direct, map_stored, new_message, planned_segments
from callrail_relay.domain.message import (
    ANONYMOUS,
    CANCELLABLE,
    OPEN,
    Actor,
    Message,
    MessageFilter,
    Reason,
    Status,
    Verb,
    as_json,
    instant,
)
from callrail_relay.domain.opt_outs import OptOut
from callrail_relay.domain.views import MessageSummary
from callrail_relay.errors import NotAllowed, NotFound, UsageError
from callrail_relay.outbox import budget, claim, decisions, history, opt_outs, presence, queries
from callrail_relay.outbox.shadow import read_shadow
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all, says
from callrail_relay.service import CALLED, refusal, sentence

_PART_OF_AN_ID = re.compile("[0-9A-Fa-f-]{1,35}")
_MATCHES = 8  # how many ids a sentence names at most
PORTION = 200  # people of an imported list, or texts of an export, that share a transaction
WRITING = timedelta(minutes=10)  # longer than it takes to write a decision on any number of texts


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    facts: Facts
    counts: dict[Status, int]

    def document(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "relay": self.facts.running.document(),
            "last_from_if3": instant(self.facts.last_from_if3),
            "accounts": [_account_document(status) for status in self.facts.accounts],
            "messages": as_json(self.counts),
            "drains_at": instant(self.facts.drains_at),
            "shadow": self.facts.shadow.document(),
        }


def _account_document(status: AccountStatus) -> dict[str, Any]:
    account = status.account

    def entry(name: str, at: datetime | None, reason: Reason | None) -> dict[str, Any] | None:
        return None if at is None else {name: instant(at), "reason": reason and says(reason)}

    return {
        "account_id": account.id,
        "paused": entry("since", account.paused_since, account.paused_reason),
        "waits": entry("until", account.wait_until, account.wait_reason),
        "hour": as_json(status.hour),
        "day": as_json(status.day),
    }


# How the store does what a person decides on a text; False if its status doesn't allow it.
DECISIONS: dict[Verb, Callable[..., bool]] = {
    Verb.APPROVE: decisions.approve,
    Verb.CANCEL: partial(decisions.cancel, statuses=CANCELLABLE),
    Verb.RESEND: decisions.resend,
    Verb.MARK_SENT: decisions.mark_sent,
}


@dataclass(eq=False)
class Operations:
    store: Store
    mapping: MappingPolicy  # how a held request is remapped

    @property
    def account_ids(self) -> Sequence[str]:
        return self.mapping.routes.account_ids

    async def status(self) -> StatusReport:
        counts = await self.store.read(queries.count_by_status)
        return StatusReport(facts=await self.facts(), counts=counts)

    async def facts(self) -> Facts:
        """Return the store's facts for the verdict, without counting all messages."""
        ids, limits = self.account_ids, self.mapping.limits
        running = await self.store.running()
        return await self.store.read(
            lambda tx: Facts(
                now=tx.now,
                running=running,
                accounts=budget.read_account_statuses(tx, ids, limits),
                waiting=history.read_waiting(tx),
                any_sent=history.any_sent(tx),
                contacts=presence.read_contacts(tx, ids),
                last_from_if3=history.last_from_if3(tx),
                shadow=read_shadow(tx),
            )
        )

    async def account_statuses(self) -> Sequence[AccountStatus]:
        return await self.store.read(budget.read_account_statuses, self.account_ids, self.mapping.limits)

    async def list_messages(self, wanted: MessageFilter) -> list[Message]:
        return await self._shown(await self.store.read(queries.list_messages, wanted))

    async def export(self, wanted: MessageFilter) -> AsyncIterator[list[Message]]:
        """Yield all messages that match the filter, newest first and in portions, so any number works."""
        wanted = replace(wanted, limit=PORTION)
        while found := await self.list_messages(wanted):
            yield found
            wanted = replace(wanted, before=found[-1].seq)

    async def find(self, *ids: str) -> list[Message]:
        """Return the messages with these ids, or of submissions with them. Raises NotFound for none."""
        if ids and not (found := await self.store.read(queries.find_messages, *ids)):
            raise NotFound(sentence("no_text", id=ids[0]))
        return await self._shown(found) if ids else []

    async def left_to_send(self, *ids: str) -> list[Message]:
        """Return those of these messages that are still to be sent, on hold if a rule would hold them now."""
        found = [one for one in await self.find(*ids) if one.status in OPEN]
        left = [one for one in found if one.route and one.route.account_id in self.account_ids]
        held = await self.store.rehearse(claim.would_hold, self.mapping.guards, [one.id for one in left])
        return [
            replace(one, status=Status.HELD, reasons=held[one.id].holds) if one.id in held else one
            for one in left
        ]

    async def full_ids(self, parts: Sequence[str]) -> list[str]:
        """Return the ids that parts stand for, each once; others stay. Raises NotFound if several fit."""
        full = []
        for part in parts:
            ids = []
            if _PART_OF_AN_ID.fullmatch(part):
                ids = await self.store.read(queries.find_ids, part.lower(), limit=_MATCHES + 1)
            if len(ids) > 1:
                names = f"{', '.join(ids[:_MATCHES])}{' and more' if len(ids) > _MATCHES else ''}"
                raise NotFound(sentence("several_texts", part=part, names=names))
            full.append(ids[0] if ids else part)
        return list(dict.fromkeys(full))

    async def held_alike(self, *ids: str) -> list[MessageSummary]:
        """Return all texts held as mass texts with these, newest first. Raises NotFound, NotAllowed."""
        alike = set[str]()
        for id_ in ids:
            found = [await self.store.read(decisions.held_alike, one.id) for one in await self.find(id_)]
            if not any(found):
                raise NotAllowed(sentence("not_bulk", id=id_))
            alike.update(*found)
        return await self.store.read(history.read_rows, list(alike))

    async def decide(self, verb: Verb, id_: str, actor: Actor = ANONYMOUS) -> list[Message]:
        """
        Do what a person decides on a text, or on each of a submission. Raises NotFound, NotAllowed.

        APPROVE overrides exactly the reasons shown. MARK_SENT takes a person's word that CallRail has them.
        """
        if verb is Verb.REMAP:
            return await self._remap(id_, actor)
        for message in await self.find(id_):
            if verb in (Verb.APPROVE, Verb.RESEND) and not message.is_complete:
                raise NotAllowed(sentence("incomplete", id=message.id, why=explain_all(message.reasons)))
            if verb is Verb.APPROVE:
                await self._require_approvable(message)
            if not await self.store.write(DECISIONS[verb], message.id, actor=actor):
                raise _not_allowed(message, verb)
        return await self.find(id_)

    async def edit(self, id_: str, *, text: str, to: str, actor: Actor) -> Message:
        """Change a held text or its person, to be judged again. Raises NotFound, NotAllowed, UsageError."""
        [message, *others] = await self.find(id_)
        if others or message.route is None:
            raise _not_allowed(message, Verb.EDIT)
        draft = map_direct(to=to, text=text, sender=message.route, routes=self.mapping.routes)
        if draft.reasons:
            raise UsageError(" ".join(says(reason) for reason in draft.reasons))
        edited = new_message(message.id, replace(draft, **message.if3_context()), self.mapping)
        status = await self.store.write(decisions.rewrite, edited, self.mapping.guards, Verb.EDIT, actor)
        [message] = await self.find(id_)
        if status is None:
            raise _not_allowed(message, Verb.EDIT)
        return message

    async def undo(self, batch: str, actor: Actor = ANONYMOUS) -> tuple[int, int]:
        """Undo what one click decided; return how many were undone, and how many weren't."""
        ids = await self.store.read(decisions.ids_of_batch, batch)
        undone = await _count(ids, lambda id_: self.store.write(decisions.undo, id_, batch, actor))
        return undone, len(ids) - undone

    async def decide_all(self, verb: Verb, ids: Sequence[str], actor: Actor) -> int:
        """
        Approve, resend or cancel many texts that the caller chose; return how many were.

        The time to undo starts once all are written; until then, none is sent.
        """
        write, delay = self.store.write, actor.delay
        actor = replace(actor, delay=max(delay, WRITING)) if delay else actor
        try:
            return await _count(ids, lambda id_: write(DECISIONS[verb], id_, actor=actor))
        finally:
            if delay:
                await write(decisions.send_after, actor.batch or "", delay)

    async def _require_approvable(self, message: Message) -> None:
        needed = len(planned_segments(message.text, self.mapping.max_characters))
        most = min(self.mapping.limits.per_hour, self.mapping.limits.per_day)
        if needed > most:
            raise NotAllowed(sentence("too_long", id=message.id, needed=needed, most=most))
        if message.route is None or message.recipient is None:
            return
        if await self.store.read(opt_outs.is_opted_out, message.route.tracking_number, message.recipient):
            raise NotAllowed(sentence("opted_out", id=message.id))

    async def opt_out_recipient(self, id_: str, reason: str, actor: Actor = ANONYMOUS) -> list[Message]:
        """Opt the person of a text out of its number's texts, and cancel it. Raises NotFound, NotAllowed."""
        for message in await self.find(id_):
            if message.route is None or message.recipient is None:
                raise _not_allowed(message, "opt-out")
            await self.opt_out(message.recipient, message.route.tracking_number, reason)
        return await self.decide(Verb.CANCEL, id_, actor)

    async def _remap(self, id_: str, actor: Actor) -> list[Message]:
        """Remap held texts that lack something, and return them; what still can't be mapped stays held."""
        found = await self.find(id_)
        lacking = [one for one in found if one.status is Status.HELD and not one.is_complete]
        if not lacking:
            raise _not_remappable(found[0])
        stored = await self.store.read(queries.read_submission, lacking[0].submission_id)
        drafts = map_stored(stored, self.mapping, await self.store.now())
        if len(drafts) != len(stored.message_ids):
            raise NotAllowed(sentence("other_request", id=lacking[0].id))
        by_id, guards = dict(zip(stored.message_ids, drafts, strict=True)), self.mapping.guards
        for message in lacking:
            remapped = new_message(message.id, by_id[message.id], self.mapping)
            if await self.store.write(decisions.rewrite, remapped, guards, Verb.REMAP, actor) is None:
                raise _not_remappable(message)
        return [message for one in lacking for message in await self.find(one.id)]

    async def opt_outs(self) -> list[OptOut]:
        return await self.store.read(opt_outs.list_opt_outs)

    async def opt_out(self, recipient: str, tracking_number: str | None, reason: str) -> list[OptOut]:
        """Opt a person out, for one tracking number or all of ours; return their entries."""
        for number in [tracking_number] if tracking_number else await self._our_numbers():
            await self.store.write(opt_outs.add_opt_out, number, recipient, reason)
        return [one for one in await self.opt_outs() if one.recipient == recipient]

    async def import_opt_outs(self, people: Sequence[OptOut], on_progress: Callable[[int], None]) -> int:
        """Add a list; people without a number count for all of ours. *on_progress* gets how many are done."""
        ours = await self._our_numbers()
        added = 0
        for start in range(0, len(people), PORTION):
            portion = people[start : start + PORTION]
            entries = [
                replace(one, tracking_number=number)
                for one in portion
                for number in ([one.tracking_number] if one.tracking_number else ours)
            ]
            added += await self.store.write(opt_outs.add_opt_outs, entries)
            on_progress(len(portion))
        return added

    async def _our_numbers(self) -> list[str]:
        """Return those in the settings, and those named with `send --from`."""
        named = await self.store.read(opt_outs.known_numbers, self.account_ids)
        ours = self.mapping.routes.tracking_numbers
        return list(dict.fromkeys([*ours, *(route.tracking_number for route in named)]))

    async def remove_opt_out(self, recipient: str, tracking_number: str | None) -> int:
        """Remove a person's opt-outs; return for how many numbers they had one. Raises NotFound."""
        lifted = await self.store.write(opt_outs.remove_opt_out, recipient, tracking_number)
        if lifted == 0:
            raise NotFound(sentence("not_listed_person"))
        return lifted

    async def pause(self, account_id: str | None, reason: str) -> list[str]:
        """Accept texts and send none, for one account or all; return which. Raises NotFound."""
        return await self._change_accounts(account_id, decisions.pause, reason)

    async def resume(self, account_id: str | None) -> list[str]:
        """Send again, for one account or all; return which. Raises NotFound."""
        return await self._change_accounts(account_id, decisions.resume)

    async def _change_accounts(
        self, account_id: str | None, change: Callable[..., object], *arguments: str
    ) -> list[str]:
        known = list(dict.fromkeys([*self.account_ids, *await self.store.read(decisions.known_accounts)]))
        ids = known if account_id is None else [one for one in known if one == account_id]
        if account_id is not None and not ids:
            raise NotFound(sentence("unknown_account", account_id=account_id))
        for one in ids:
            await self.store.write(change, one, *arguments)
        return ids

    async def _shown(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages with what they wait for, and the segments that a text will be split into."""
        waiting = any(message.status in OPEN for message in messages)
        statuses = {one.account.id: one for one in await self.account_statuses()} if waiting else {}
        return [self._with_plan(message, statuses) for message in messages]

    def _with_plan(self, message: Message, statuses: Mapping[str, AccountStatus]) -> Message:
        if not message.segments:
            planned = planned_segments(message.text, self.mapping.max_characters)
            message = replace(message, segments=planned)
        under_way = any(segment.status is Status.SENDING for segment in message.segments)
        if message.status not in OPEN or under_way or message.route is None:
            return message
        account_id = message.route.account_id
        if account_id not in self.account_ids:
            why = [Reason("foreign_account", {"account_id": account_id})]
        else:
            why = _wait_reasons(statuses[account_id])
            if message.blocked_until is not None:
                why.append(Reason("behind_unknown", {"until": instant(message.blocked_until)}))
        return replace(message, reasons=(*message.reasons, *why))


async def _count(ids: Sequence[str], decide: Callable[[str], Awaitable[bool]]) -> int:
    """Decide on many texts, PORTION at a time, since those share a commit; return how many were."""
    done = 0
    for start in range(0, len(ids), PORTION):
        done += sum(await asyncio.gather(*map(decide, ids[start : start + PORTION])))
    return done


def _wait_reasons(status: AccountStatus) -> list[Reason]:
    """Return what keeps an account's texts waiting, and until when; nothing if they only take turns."""
    account = status.account
    if account.paused_since is not None:
        return [Reason("paused", _cause(account.paused_reason))]
    why = []
    if account.wait_until is not None:
        waits = {**_cause(account.wait_reason), "until": instant(account.wait_until)}
        why.append(Reason("account_waits", waits))
    windows = (("hour", status.hour), ("day", status.day))
    full = [(window.free_at, name, window) for name, window in windows if window.free_at is not None]
    if full:
        free_at, name, window = max(full, key=itemgetter(0))
        used = {"window": name, "used": window.used, "allowed": window.allowed, "until": instant(free_at)}
        why.append(Reason("budget", used))
    return why


def _cause(reason: Reason | None) -> dict[str, Any]:
    return {} if reason is None else {"cause": reason.document()}


def _not_remappable(message: Message) -> NotAllowed:
    if message.status is not Status.HELD:
        return _not_allowed(message, Verb.REMAP)
    return NotAllowed(sentence("no_retry", id=message.id, why=explain_all(message.reasons)))


def _not_allowed(message: Message, verb: str) -> NotAllowed:
    return NotAllowed(refusal(verb, id=message.id, status=CALLED.get(message.status, message.status)))
