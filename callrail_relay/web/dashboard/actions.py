"""What a person decides on a page: about one text, an account, or the list of opt-outs."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from callrail_relay.domain.message import Actor, Message, Reason, Source, Status
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.errors import NotAllowed, NotFound, RelayError, UsageError
from callrail_relay.sentences import says
from callrail_relay.service.operations import CANCELLABLE, Operations
from callrail_relay.web.dashboard.frame import Visit, own_address

NO_NUMBER = "There is no tracking number yet to opt out of. Run `callrail-relay configure`."
ACTOR = Actor(name="a person on the dashboard")
OPT_OUTS = "/setup#opt-outs"


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing to do with a text; ``question`` is asked first of one that may be sent, or was."""

    name: str
    label: str
    done: str
    act: Callable[..., Awaitable[list[Message]]]
    statuses: tuple[Status, ...]
    question: str = ""
    main: bool = False

    def asks(self, status: Status) -> bool:
        return self.question != "" and status not in (Status.FAILED, Status.CANCELLED)


HELD = (Status.HELD,)
APPROVE = Verb("approve", "Send anyway", "Queued to send.", Operations.approve, HELD, main=True)
APPROVE_RESTORED = Verb(
    "approve-restored",
    "Send anyway",
    "Queued to send.",
    Operations.approve,
    HELD,
    "This message comes from a backup and may have been sent since. Sending could text this person twice. "
    "Check the conversation in CallRail first.",
    main=True,
)
REMAP = Verb("remap", "Retry", "Retried with the current settings.", Operations.remap, HELD)
RESEND = Verb(
    "resend",
    "Send again",
    "Queued to send again.",
    Operations.resend,
    (Status.UNKNOWN, Status.FAILED, Status.CANCELLED),
    "This message may already have been delivered. Resending could text this person twice. Check the "
    "conversation in CallRail first.",
)
MARK_SENT = Verb(
    "mark-sent",
    "Mark as sent",
    "Marked as sent.",
    Operations.mark_sent,
    (Status.UNKNOWN,),
    "Did you see this message in CallRail's conversation? It won't be sent again. You can't undo this.",
)
APPROVE_ALIKE = Verb(
    "approve-alike",
    "Send all alike",
    "Queued to send, one after the other.",
    Operations.approve,
    HELD,
    "This sends each of these messages. CallRail allows only person-to-person texts. Did a person write "
    "each of these?",
)
CANCEL_ALIKE = Verb(
    "cancel-alike",
    "Cancel all alike",
    "Canceled: none of them will be sent.",
    Operations.cancel,
    HELD,
    "None of these will be sent. “Send again” brings them back, one by one.",
)
CANCEL = Verb(
    "cancel",
    "Cancel",
    "Canceled: it won't be sent. “Send again” brings it back.",
    Operations.cancel,
    CANCELLABLE,
)
OPT_OUT = Verb(
    "opt-out",
    "Opt out",
    "Opted out: you can't text this person from this number any more, and the message is canceled.",
    partial(Operations.opt_out_recipient, reason="Read in a reply, on the dashboard."),
    HELD,
)
VERBS = (APPROVE, APPROVE_RESTORED, OPT_OUT, RESEND, MARK_SENT, REMAP, CANCEL, APPROVE_ALIKE, CANCEL_ALIKE)
ALIKE = (APPROVE_ALIKE, CANCEL_ALIKE)


def allowed(
    status: Status, source: Source, reasons: Iterable[Reason], *, complete: bool, opted_out: bool
) -> list[Verb]:
    """The buttons of a text; *complete* if it could be sent at all, *opted_out* if the person opted out."""
    codes = {reason.code for reason in reasons}
    left_out: set[Verb] = set()
    if "mass_text" not in codes:
        left_out |= set(ALIKE)
    left_out |= {APPROVE, APPROVE_ALIKE} if "restored" in codes else {APPROVE_RESTORED}
    if "maybe_opted_out" not in codes or opted_out:
        left_out.add(OPT_OUT)
    if opted_out or not complete:
        left_out |= {APPROVE, APPROVE_RESTORED, RESEND}
    if complete or source is Source.SEND:
        left_out.add(REMAP)
    return [verb for verb in VERBS if status in verb.statuses and verb not in left_out]


def _verb(visit: Visit) -> Verb:
    for verb in VERBS:
        if verb.name == visit.request.path_params["verb"]:
            return verb
    raise NotFound("There is no such page.")


async def _concerned(visit: Visit, verb: Verb, id_: str) -> list[str]:
    """The ids of the texts that it is about: all that are held alike, or the one."""
    if verb not in ALIKE:
        return [id_]
    return await visit.dashboard.operations.held_alike(id_, approvable=verb is APPROVE_ALIKE)


async def ask(visit: Visit) -> Response:
    """The page with a question."""
    verb = _verb(visit)
    [text, *_] = await visit.dashboard.operations.find(visit.request.path_params["id"])
    return await visit.draw(
        "question.html",
        verb=verb,
        text=text,
        asked_from=own_address(visit.request.query_params.get("back", ""), f"/texts/{text.id}"),
        alike=len(await _concerned(visit, verb, text.id)) if verb in ALIKE else 0,
    )


async def act(visit: Visit) -> Response:
    verb, id_ = _verb(visit), visit.request.path_params["id"]
    messages: list[Message] = []
    try:
        for one in await _concerned(visit, verb, id_):
            messages += await verb.act(visit.dashboard.operations, one, actor=ACTOR)
    except RelayError as error:
        return visit.back(str(error), f"/texts/{id_}", fault=True)
    visit.dashboard.wake()
    visit.dashboard.signal()
    done = verb.done
    if verb is REMAP and not messages[-1].is_complete:
        done = "Retried with the current settings, and it can't be sent yet: see the reason."
    return visit.back(done, f"/texts/{id_}")


async def pause(visit: Visit) -> Response:
    reason = visit.form.get("reason", "").strip() or "Paused on the dashboard."
    await visit.dashboard.operations.pause(visit.form.get("account") or None, reason)
    return _done(visit, "Paused: messages are saved but not sent.")


async def resume(visit: Visit) -> Response:
    await visit.dashboard.operations.resume(visit.form.get("account") or None)
    visit.dashboard.examiner.outdate()
    visit.dashboard.wake()
    return _done(visit, "Resumed sending.")


async def opt_out(visit: Visit) -> Response:
    form, operations = visit.form, visit.dashboard.operations
    try:
        reason = form.get("reason", "").strip() or "Added on the dashboard."
        if not await operations.opt_out(_recipient(visit), form.get("tracking_number") or None, reason):
            raise NotAllowed(NO_NUMBER)
    except RelayError as error:
        return visit.back(str(error), OPT_OUTS, fault=True)
    return _done(visit, "Opted out: you can't text this person.")


async def lift(visit: Visit) -> Response:
    try:
        number = visit.form.get("tracking_number") or None
        await visit.dashboard.operations.remove_opt_out(_recipient(visit), number)
    except RelayError as error:
        return visit.back(str(error), OPT_OUTS, fault=True)
    return _done(visit, "Opt-out removed.")


def _done(visit: Visit, words: str) -> Response:
    visit.dashboard.signal()
    return visit.back(words, OPT_OUTS)


def _recipient(visit: Visit) -> str:
    try:
        return normalise(visit.form.get("recipient", ""))
    except BadPhone as exc:
        raise UsageError(says(exc.reason)) from exc
