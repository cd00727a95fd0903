"""What a person decides on a page: about one text, an account, or the list of opt-outs."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from secrets import token_urlsafe

from starlette.responses import Response

from callrail_relay.domain.message import Actor, Click, Message, Reason, Source, Status
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.errors import NotAllowed, NotFound, RelayError, UsageError
from callrail_relay.sentences import plural, says
from callrail_relay.service.operations import CANCELLABLE, Operations
from callrail_relay.web.dashboard.frame import Visit, own_address
from callrail_relay.web.dashboard.words import phone

NO_NUMBER = "There is no tracking number yet to opt out of. Run `callrail-relay configure`."
ACTOR = Actor(name="a person on the dashboard")
OPT_OUTS = "/setup#opt-outs"


UNDO_TIME = timedelta(seconds=8)
"""How long nothing is sent after a click that sends; the store keeps it, and until then it can be undone."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing to do with a text; ``question`` is asked first of one that may be sent, or was."""

    name: str
    label: str
    done: str
    act: Callable[..., Awaitable[list[Message]]]
    statuses: tuple[Status, ...]
    question: str = ""

    def asks(self, status: Status) -> bool:
        return self.question != "" and status not in (Status.FAILED, Status.CANCELLED)

    @property
    def sends(self) -> bool:
        return self.name in ("approve", "resend")

    def click(self) -> Click:
        """One click on it, with the time for undo if it sends."""
        return Click(token_urlsafe(16), UNDO_TIME if self.sends else timedelta())


HELD = (Status.HELD,)
APPROVE = Verb("approve", "Send anyway", "Queued to send in 8 seconds.", Operations.approve, HELD)
REMAP = Verb("remap", "Retry", "Retried with the current settings.", Operations.remap, HELD)
RESEND = Verb(
    "resend",
    "Send again",
    "Queued to send again in 8 seconds.",
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
CANCEL = Verb("cancel", "Cancel", "Canceled: it won't be sent.", Operations.cancel, CANCELLABLE)
OPT_OUT = Verb(
    "opt-out",
    "Opt out",
    "Opted out: you can't text this person from this number any more, and the message is canceled.",
    partial(Operations.opt_out_recipient, reason="Read in a reply, on the dashboard."),
    HELD,
)
VERBS = (APPROVE, OPT_OUT, RESEND, MARK_SENT, REMAP, CANCEL)
UNDOABLE = (APPROVE, RESEND, CANCEL)
DOUBTFUL = {"merge_tag", "mass_text", "bulk", "maybe_opted_out", "opt_out"}
"""Reasons beside which *Send anyway* is never the button that stands out."""


def allowed(
    status: Status, source: Source, reasons: Iterable[Reason], *, complete: bool, opted_out: bool
) -> list[Verb]:
    """The buttons of a text; *complete* if it could be sent at all, *opted_out* if the person opted out."""
    codes = {reason.code for reason in reasons}
    left_out: set[Verb] = set()
    if "maybe_opted_out" not in codes or opted_out:
        left_out.add(OPT_OUT)
    if opted_out or not complete:
        left_out |= {APPROVE, RESEND}
    if complete or source is Source.SEND:
        left_out.add(REMAP)
    return [verb for verb in VERBS if status in verb.statuses and verb not in left_out]


def _verb(visit: Visit) -> Verb:
    for verb in VERBS:
        if verb.name == visit.request.path_params["verb"]:
            return verb
    raise NotFound("There is no such page.")


async def ask(visit: Visit) -> Response:
    """The page with a question."""
    verb = _verb(visit)
    [text, *_] = await visit.dashboard.operations.find(visit.request.path_params["id"])
    return await visit.draw(
        "question.html",
        verb=verb,
        text=text,
        asked_from=own_address(visit.request.query_params.get("back", ""), f"/texts/{text.id}"),
    )


async def act(visit: Visit) -> Response:
    verb, id_ = _verb(visit), visit.request.path_params["id"]
    more = {"click": verb.click()} if verb in UNDOABLE else {}
    try:
        messages = await verb.act(visit.dashboard.operations, id_, actor=ACTOR, **more)
    except RelayError as error:
        return visit.back(str(error), f"/texts/{id_}", fault=True)
    visit.dashboard.wake()
    visit.dashboard.signal()
    done = verb.done
    if verb is REMAP and not messages[-1].is_complete:
        done = "Retried with the current settings, and it can't be sent yet: see the reason."
    return visit.back(done, f"/texts/{id_}", undo=more.get("click"))


async def undo(visit: Visit) -> Response:
    """Take back what one click decided, unless something came of it already."""
    undone, late = await visit.dashboard.operations.undo(visit.form.get("batch", ""), ACTOR)
    visit.dashboard.signal()
    if not undone:
        return visit.back("It's too late to undo this.", "/review", fault=True)
    rest = f" It was too late for {late:,}." if late else ""
    words = "Undone: nothing was sent." if undone == 1 else f"Undone for {plural(undone, 'message')}."
    return visit.back(f"{words}{rest}", "/review")


async def show_edit(visit: Visit, *, typed: Mapping[str, str] | None = None, fault: str = "") -> Response:
    """The form in which a text on hold is corrected, as it was *typed* if that had a *fault*."""
    found = await visit.dashboard.history.text(visit.request.path_params["id"])
    message, opted_out = found[0].message, found[0].history.opted_out
    if len(found) > 1 or message.status is not Status.HELD or message.route is None:
        raise NotAllowed("Only a message that is on hold, with a number to send it from, can be edited.")
    to = phone(message.recipient) if message.recipient else ""
    form = typed or {"message": message.text or "", "to": to}
    asked_from = own_address((typed or visit.request.query_params).get("back", ""), f"/texts/{message.id}")
    shown = {"message": message, "opted_out": opted_out, "fault": fault, "asked_from": asked_from}
    return await visit.draw("edit.html", 422 if fault else 200, form=form, **shown)


async def edit(visit: Visit) -> Response:
    id_, form = visit.request.path_params["id"], visit.form
    click = Click(token_urlsafe(16), UNDO_TIME)
    text, to = form.get("message", ""), form.get("to", "")
    try:
        message = await visit.dashboard.operations.edit(id_, text=text, to=to, actor=ACTOR, click=click)
    except UsageError as error:
        return await show_edit(visit, typed=form, fault=str(error))
    except RelayError as error:
        return visit.back(str(error), f"/texts/{id_}", fault=True)
    visit.dashboard.wake()
    visit.dashboard.signal()
    if message.status is Status.HELD:
        return visit.go(f"/texts/{id_}", "Saved. It's still on hold: see why below.")
    return visit.back("Saved, and queued to send in 8 seconds.", f"/texts/{id_}", undo=click)


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
