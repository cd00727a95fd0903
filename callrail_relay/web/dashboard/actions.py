"""What a person decides on a page: about one text, an account, or the list of opt-outs."""

from starlette.responses import Response

from callrail_relay.domain.message import Actor, Status
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.errors import NotAllowed, NotFound, RelayError, UsageError
from callrail_relay.sentences import plural, says
from callrail_relay.web.dashboard.frame import Visit, own_address
from callrail_relay.web.dashboard.verbs import REMAP, VERBS, Verb, editable, one_click
from callrail_relay.web.dashboard.words import NOTICES, phone

OPT_OUTS = "/setup/opt-outs"


def _verb(visit: Visit) -> Verb:
    if (verb := VERBS.get(visit.request.path_params["verb"])) is None:
        raise NotFound(NOTICES["no_page"])
    return verb


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
    actor = verb.actor(visit.who)
    try:
        messages = await verb.act(visit.dashboard.operations, id_, actor=actor)
    except RelayError as error:
        return visit.back(str(error), f"/texts/{id_}", fault=True)
    visit.dashboard.wake()
    visit.dashboard.signal()
    done = verb.done
    if verb is REMAP and not messages[-1].is_complete:
        done = NOTICES["remapped_held"]
    return visit.back(done, f"/texts/{id_}", undo=actor.batch)


async def undo(visit: Visit) -> Response:
    """Take back what one click decided, unless something came of it already."""
    undone, late = await visit.dashboard.operations.undo(visit.form.get("batch", ""), Actor(name=visit.who))
    visit.dashboard.signal()
    if not undone:
        return visit.back(NOTICES["undo_late"], "/review", fault=True)
    rest = f" It was too late for {late:,}." if late else ""
    words = NOTICES["undone"] if undone == 1 else f"Undone for {plural(undone, 'message')}."
    return visit.back(f"{words}{rest}", "/review")


async def show_edit(visit: Visit, *, fault: str = "") -> Response:
    """The form in which a text on hold is corrected, as it was typed if that had a *fault*."""
    found = await visit.dashboard.history.rows([visit.request.path_params["id"]])
    if not found or not editable(text := found[0]):
        raise NotAllowed(NOTICES["no_edit"])
    form = visit.form if fault else {"message": text.text or "", "to": phone(text.recipient or "")}
    back = (visit.form or visit.request.query_params).get("back", "")
    asked_from = own_address(back, f"/texts/{text.id}")
    status = 422 if fault else 200
    return await visit.draw("edit.html", status, text=text, form=form, fault=fault, asked_from=asked_from)


async def edit(visit: Visit) -> Response:
    id_, form, actor = visit.request.path_params["id"], visit.form, one_click(visit.who)
    text, to = form.get("message", ""), form.get("to", "")
    try:
        message = await visit.dashboard.operations.edit(id_, text=text, to=to, actor=actor)
    except UsageError as error:
        return await show_edit(visit, fault=str(error))
    except RelayError as error:
        return visit.back(str(error), f"/texts/{id_}", fault=True)
    visit.dashboard.wake()
    visit.dashboard.signal()
    if message.status is Status.HELD:
        return visit.go(f"/texts/{id_}", NOTICES["edited_held"])
    return visit.back(NOTICES["edited"], f"/texts/{id_}", undo=actor.batch)


async def pause(visit: Visit) -> Response:
    reason = visit.form.get("reason", "").strip() or f"Paused {visit.by}."
    await visit.dashboard.operations.pause(visit.form.get("account") or None, reason)
    return _done(visit, NOTICES["paused"])


async def resume(visit: Visit) -> Response:
    await visit.dashboard.operations.resume(visit.form.get("account") or None)
    visit.dashboard.examiner.outdate()
    visit.dashboard.wake()
    return _done(visit, NOTICES["resumed"])


async def opt_out(visit: Visit) -> Response:
    form, operations = visit.form, visit.dashboard.operations
    try:
        reason = form.get("reason", "").strip() or f"Added {visit.by}."
        if not await operations.opt_out(_recipient(visit), form.get("tracking_number") or None, reason):
            raise NotAllowed(NOTICES["no_number"])
    except RelayError as error:
        return visit.back(str(error), OPT_OUTS, fault=True)
    return _done(visit, NOTICES["opted_out"])


async def lift(visit: Visit) -> Response:
    try:
        number = visit.form.get("tracking_number") or None
        await visit.dashboard.operations.remove_opt_out(_recipient(visit), number)
    except RelayError as error:
        return visit.back(str(error), OPT_OUTS, fault=True)
    return _done(visit, NOTICES["lifted"])


def _done(visit: Visit, words: str) -> Response:
    visit.dashboard.signal()
    return visit.back(words, OPT_OUTS)


def _recipient(visit: Visit) -> str:
    try:
        return normalise(visit.form.get("recipient", ""))
    except BadPhone as exc:
        raise UsageError(says(exc.reason)) from exc
