"""What a person decides on a page: about one text, an account, or the list of opt-outs."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.message import Actor, Message, Reason, Source, Status
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.errors import NotAllowed, NotFound, RelayError, UsageError
from callrail_relay.sentences import says
from callrail_relay.service.operations import CANCELLABLE, Operations
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.frame import Form, Frame, own_address

RESENDABLE = (Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
REASON = "Added on the dashboard."
NO_NUMBER = "There is no tracking number yet to opt out of. Run `callrail-relay configure`."
ACTOR = Actor(name="a person on the dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One thing to do with a text; ``question`` is asked first of texts with one of ``asked_of``."""

    name: str
    label: str
    done: str
    statuses: tuple[Status, ...]
    question: str = ""
    asked_of: tuple[Status, ...] = ()
    main: bool = False

    def asks(self, status: Status) -> bool:
        return status in self.asked_of


APPROVE = Verb(
    name="approve", label="Send anyway", done="Queued to send.", statuses=(Status.HELD,), main=True
)
REMAP = Verb(name="remap", label="Retry", done="Retried with the current settings.", statuses=(Status.HELD,))
RESEND = Verb(
    name="resend",
    label="Send again",
    done="Queued to send again.",
    statuses=RESENDABLE,
    question=(
        "This message may already have been delivered. Resending could text this person twice. Check the "
        "conversation in CallRail first."
    ),
    asked_of=(Status.UNKNOWN,),
)
MARK_SENT = Verb(
    name="mark-sent",
    label="Mark as sent",
    done="Marked as sent.",
    statuses=(Status.UNKNOWN,),
    question=(
        "Did you see this message in CallRail's conversation? It won't be sent again. You can't undo this."
    ),
    asked_of=(Status.UNKNOWN,),
)
APPROVE_ALIKE = Verb(
    name="approve-alike",
    label="Send all alike",
    done="Queued to send, one after the other.",
    statuses=(Status.HELD,),
    question=(
        "This sends each of these messages. CallRail allows only person-to-person texts. Did a person write "
        "each of these?"
    ),
    asked_of=(Status.HELD,),
)
CANCEL_ALIKE = Verb(
    name="cancel-alike",
    label="Cancel all alike",
    done="Canceled: none of them will be sent.",
    statuses=(Status.HELD,),
    question="None of these will be sent. “Send again” brings them back, one by one.",
    asked_of=(Status.HELD,),
)
CANCEL = Verb(
    name="cancel",
    label="Cancel",
    done="Canceled: it won't be sent. “Send again” brings it back.",
    statuses=CANCELLABLE,
)
OPT_OUT = Verb(
    name="opt-out",
    label="Opt out",
    done="Opted out: you can't text this person from this number any more, and the message is canceled.",
    statuses=(Status.HELD,),
)
VERBS = {
    verb.name: verb
    for verb in (APPROVE, OPT_OUT, RESEND, MARK_SENT, REMAP, CANCEL, APPROVE_ALIKE, CANCEL_ALIKE)
}
ALIKE = (APPROVE_ALIKE, CANCEL_ALIKE)


def allowed(
    status: Status, source: Source, reasons: Iterable[Reason], *, complete: bool, opted_out: bool
) -> tuple[Verb, ...]:
    """The buttons of a text; *complete* if it could be sent at all, *opted_out* if the person opted out."""
    codes = {reason.code for reason in reasons}
    left_out: set[Verb] = set()
    if "mass_text" not in codes:
        left_out |= set(ALIKE)
    if "maybe_opted_out" not in codes or opted_out:
        left_out.add(OPT_OUT)
    if opted_out or not complete:
        left_out |= {APPROVE, RESEND}
    if complete or source is Source.SEND:
        left_out.add(REMAP)
    return tuple(verb for verb in VERBS.values() if status in verb.statuses and verb not in left_out)


class TextActions:
    def __init__(
        self,
        frame: Frame,
        operations: Operations,
        changed: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._frame = frame
        self._operations = operations
        self._changed = changed
        self._wake = wake

    async def ask(self, request: Request, session: Session) -> Response:
        """The page with a question."""
        verb = _verb(request)
        [text, *_] = await self._operations.find(request.path_params["id"])
        asked_from = own_address(request.query_params.get("back", ""), f"/texts/{text.id}")
        alike = await self._alike(verb, text.id) if verb in ALIKE else []
        return await self._frame.draw(
            request,
            session,
            "question.html",
            verb=verb,
            text=text,
            asked_from=asked_from,
            alike=len(alike),
        )

    async def act(self, request: Request, session: Session, form: Form) -> Response:
        verb, id_ = _verb(request), request.path_params["id"]
        back = f"/texts/{id_}"
        try:
            message = await self._run(verb, id_)
        except RelayError as error:
            return await self._frame.not_done(session, form, error, back=back)
        self._wake()
        self._changed()
        words = verb.done
        if verb is REMAP and not message.is_complete:
            words = "Retried with the current settings, and it can't be sent yet: see the reason."
        return await self._frame.done(session, form, words, back=back)

    async def _run(self, verb: Verb, id_: str) -> Message:
        operations = self._operations
        carry_out: dict[Verb, Callable[..., Awaitable[list[Message]]]] = {
            APPROVE: operations.approve,
            APPROVE_ALIKE: operations.approve,
            REMAP: operations.remap,
            RESEND: operations.resend,
            MARK_SENT: operations.mark_sent,
            CANCEL: operations.cancel,
            OPT_OUT: partial(operations.opt_out_recipient, reason="Read in a reply, on the dashboard."),
            CANCEL_ALIKE: operations.cancel,
        }
        done: list[Message] = []
        for one in await self._alike(verb, id_) if verb in ALIKE else [id_]:
            done += await carry_out[verb](one, actor=ACTOR)
        return done[-1]

    async def _alike(self, verb: Verb, id_: str) -> list[str]:
        return await self._operations.held_alike(id_, approvable=verb is APPROVE_ALIKE)


def _verb(request: Request) -> Verb:
    if verb := VERBS.get(request.path_params["verb"]):
        return verb
    raise NotFound("There is no such page.")


class ListActions:
    """Pausing and resuming accounts, and the list of people who opted out."""

    def __init__(
        self,
        frame: Frame,
        operations: Operations,
        changed: Callable[[], None],
        wake: Callable[[], None],
        outdate_checks: Callable[[], None],
    ) -> None:
        self._frame = frame
        self._operations = operations
        self._changed = changed
        self._wake = wake
        self._outdate_checks = outdate_checks

    async def pause(self, request: Request, session: Session, form: Form) -> Response:
        reason = form.get("reason", "").strip() or "Paused on the dashboard."
        await self._operations.pause(form.get("account") or None, reason)
        return await self._done(session, form, "Paused: messages are saved but not sent.")

    async def resume(self, request: Request, session: Session, form: Form) -> Response:
        await self._operations.resume(form.get("account") or None)
        self._outdate_checks()
        self._wake()
        return await self._done(session, form, "Resumed sending.")

    async def opt_out(self, request: Request, session: Session, form: Form) -> Response:
        try:
            recipient = _phone(form.get("recipient", ""))
            reason = form.get("reason", "").strip() or REASON
            if not await self._operations.opt_out(recipient, form.get("tracking_number") or None, reason):
                raise NotAllowed(NO_NUMBER)
        except RelayError as error:
            return await self._frame.not_done(session, form, error, back="/setup#opt-outs")
        return await self._done(session, form, "Opted out: you can't text this person.")

    async def lift(self, request: Request, session: Session, form: Form) -> Response:
        try:
            await self._operations.remove_opt_out(
                _phone(form.get("recipient", "")), form.get("tracking_number") or None
            )
        except RelayError as error:
            return await self._frame.not_done(session, form, error, back="/setup#opt-outs")
        return await self._done(session, form, "Opt-out removed.")

    async def _done(self, session: Session, form: Form, words: str) -> Response:
        self._changed()
        return await self._frame.done(session, form, words, back="/setup#opt-outs")


def _phone(raw: str) -> str:
    try:
        return normalise(raw)
    except BadPhone as exc:
        raise UsageError(says(exc.reason)) from exc
