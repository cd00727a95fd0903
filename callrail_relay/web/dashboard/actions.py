"""What a person decides on a page: about one text, an account, or the opt-outs."""

from starlette.responses import Response

from callrail_relay.domain.message import Actor, Status
from callrail_relay.domain.message import Verb as Decided
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.errors import NotAllowed, NotFound, UsageError
from callrail_relay.sentences import phone, plural, says
from callrail_relay.web.dashboard.frame import Visit, own_address
from callrail_relay.web.dashboard.verbs import OPT_OUT, REMAP, VERBS, Verb, editable, one_click, seen
from callrail_relay.web.dashboard.words import say


def _verb(visit: Visit) -> Verb:
    if (verb := VERBS.get(visit.request.path_params["verb"])) is None:
        raise NotFound(say("no_page"))
    return verb


async def ask(visit: Visit) -> Response:
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
    actor, operations = verb.actor(visit.who), visit.dashboard.operations
    rows = await visit.dashboard.history.rows([id_]) if verb.sends and "seen" in visit.form else []
    if any(row.status in verb.statuses and seen(row) != visit.form["seen"] for row in rows):
        raise NotAllowed(say("changed"))
    if verb is OPT_OUT:
        messages = await operations.opt_out_recipient(id_, say("read_in_reply"), actor)
    else:
        messages = await operations.decide(Decided(verb.name), id_, actor)
    is_held = verb is REMAP and not messages[-1].is_complete
    return visit.back(say("remapped_held") if is_held else verb.done, undo=actor.batch)


async def undo(visit: Visit) -> Response:
    """Undo what one click decided, unless it had an effect already."""
    undone, late = await visit.dashboard.operations.undo(visit.form.get("batch", ""), Actor(name=visit.who))
    if not undone:
        raise NotAllowed(say("undo_late"))
    words = say("undone") if undone == 1 else say("undone_many", messages=plural(undone, "message"))
    return visit.back(words + (say("undone_partly", late=late) if late else ""))


async def show_edit(visit: Visit, *, fault: str = "") -> Response:
    """Show the form to correct a text on hold, as it was typed if that had a *fault*."""
    found = await visit.dashboard.history.rows([visit.request.path_params["id"]])
    if not found or not editable(text := found[0]):
        raise NotAllowed(say("no_edit"))
    form = visit.form if fault else {"message": text.text or "", "to": phone(text.recipient or "")}
    back = (visit.form or visit.request.query_params).get("back", "")
    asked_from = own_address(back, f"/texts/{text.id}")
    status = 422 if fault else 200
    values = {"text": text, "form": form, "fault": fault, "asked_from": asked_from}
    return await visit.draw("edit.html", status, still=True, **values)  # nothing replaces what a person types


async def edit(visit: Visit) -> Response:
    id_, form, actor = visit.request.path_params["id"], visit.form, one_click(visit.who)
    text, to = form.get("message", ""), form.get("to", "")
    try:
        message = await visit.dashboard.operations.edit(id_, text=text, to=to, actor=actor)
    except UsageError as error:
        return await show_edit(visit, fault=str(error))
    except NotAllowed as error:  # another person decided about it meanwhile
        return await visit.draw("problem.html", 409, still=True, missing=False, words=str(error), typed=text)
    if message.status is Status.HELD:
        return visit.back(say("edited_held"), to=f"/texts/{id_}")
    return visit.back(say("edited"), undo=actor.batch)


async def pause(visit: Visit) -> Response:
    await visit.dashboard.operations.pause(visit.form.get("account") or None, visit.reason("pause"))
    return visit.back(say("paused"))


async def resume(visit: Visit) -> Response:
    await visit.dashboard.operations.resume(visit.form.get("account") or None)
    visit.dashboard.examiner.expire()
    return visit.back(say("resumed"))


async def opt_out(visit: Visit) -> Response:
    number, reason = visit.form.get("tracking_number") or None, visit.reason("opt_out")
    if not await visit.dashboard.operations.opt_out(_recipient(visit), number, reason):
        raise NotAllowed(say("no_number"))
    return visit.back(say("opted_out"))


async def lift(visit: Visit) -> Response:
    number = visit.form.get("tracking_number") or None
    await visit.dashboard.operations.remove_opt_out(_recipient(visit), number)
    return visit.back(say("lifted"))


def _recipient(visit: Visit) -> str:
    try:
        return normalize(visit.form.get("recipient", ""))
    except BadPhone as exc:
        raise UsageError(says(exc.reason)) from exc
