"""*Settings*: the checks, what can be changed in the file, the URL for IF3, numbers, opt-outs, and people."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from starlette.responses import Response

from callrail_relay.bootstrap.editing import Saved
from callrail_relay.domain.mapper import map_direct
from callrail_relay.domain.message import Status
from callrail_relay.domain.opt_outs import BadLine, read_list, write_list
from callrail_relay.domain.people import TooManyTries
from callrail_relay.domain.routing import Route
from callrail_relay.errors import NotAllowed, NotFound, RelayError, UsageError
from callrail_relay.sentences import plural, says
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard import forms
from callrail_relay.web.dashboard.forms import Change
from callrail_relay.web.dashboard.frame import UTF8_MARK, Visit, csv_file, later
from callrail_relay.web.dashboard.words import say

STILL = ("sending", "alerts", "security")
MOST_OPT_OUTS = 200


async def _draw(visit: Visit, page: str, refused: Saved | None = None, **more: object) -> Response:
    bad = bool(refused or more.get("fault"))
    frame: dict[str, object] = {"here": f"/setup/{page}".rstrip("/"), "tab": page}
    frame |= await asyncio.to_thread(forms.values, visit, page, refused)
    if bad or page in STILL:
        frame["still"] = True  # nothing takes away what a person types
    return await visit.draw(f"settings-{page or 'health'}.html", 422 if bad else 200, **frame | more)


async def show(visit: Visit, *, fault: str = "") -> Response:
    """*Health*: the checks, and a text to try it, as it was typed if that had a *fault*."""
    examiner = visit.dashboard.examiner
    report = examiner.latest()
    return await _draw(
        visit,
        "",
        fault=fault,
        trial={"message": say("test_text")} | dict(visit.form),
        checked_at=report.read_at,
        checking=examiner.is_running,
        findings=report.value.findings if report.value else (),
        numbers=visit.dashboard.operations.mapping.routes.tracking_numbers,
    )


async def check(visit: Visit) -> Response:
    await visit.dashboard.examiner.anew.get()
    return visit.back(say("checked"))


async def send(visit: Visit) -> Response:
    """Send a text that was typed on the page."""
    dashboard = visit.dashboard
    to, sender, text = (visit.form.get(name, "") for name in ("to", "from", "message"))
    try:
        draft = map_direct(
            to=to, text=text, sender=sender or None, routes=dashboard.operations.mapping.routes
        )
        if draft.reasons:
            raise UsageError(" ".join(says(reason) for reason in draft.reasons))
        [accepted] = await dashboard.intake.accept(dashboard.intake.direct(draft))
    except RelayError as error:
        return await show(visit, fault=str(error))
    words = say("test_held") if accepted.status is Status.HELD else say("test_queued")
    return visit.back(words, to=f"/texts/{accepted.message_id}")


async def show_sending(visit: Visit, *, refused: Saved | None = None) -> Response:
    return await _draw(visit, "sending", refused)


async def save(visit: Visit) -> Response:
    """Save one of the forms that are made from data."""
    if (form := forms.forms().get(visit.request.path_params["form"])) is None:
        raise NotFound(say("no_page"))
    change = Change({one.key: one.typed(visit.form) for one in form.fields if one.key in visit.form})
    show_page = {"sending": show_sending, "alerts": show_alerts}[form.page]
    return await forms.save(visit, lambda: change, show_page)


async def show_webhook(visit: Visit, *, url: str | None = None) -> Response:
    """Show the URL for IF3, in full if *url*, and when the last text came in."""
    facts = await visit.dashboard.facts()
    return await _draw(visit, "webhook", url=url, last=facts.last_from_if3, public=facts.public_url)


async def reveal(visit: Visit) -> Response:
    return await show_webhook(visit, url=await visit.dashboard.read_url())


async def show_numbers(visit: Visit, *, refused: Saved | None = None) -> Response:
    """Show which number each person or team texts from, by the names that CallRail gives them."""
    names, editor = await visit.dashboard.names.get(), visit.dashboard.settings
    try:
        routes = (await asyncio.to_thread(editor.read)).routes_table()
    except RelayError:  # the page says what is wrong with the file
        routes = visit.dashboard.operations.mapping.routes
    fixed = [editor.fixed_by(key) for key in ("routes", "callrail.tracking_number")]
    return await _draw(
        visit,
        "numbers",
        refused,
        rules=routes.rules,
        default=routes.default,
        known=dict.fromkeys(routes, "") | names.numbers,
        companies=names.companies,
        fixed=[one for one in fixed if one],
    )


async def change_numbers(visit: Visit) -> Response:
    """Add or remove a rule, or choose the number of all others."""
    change = partial(_changed_numbers, visit, (await visit.dashboard.names.get()).numbers)
    return await forms.save(visit, change, show_numbers)


def _changed_numbers(visit: Visit, known: Iterable[Route]) -> Change:
    """Return what the form changes in the settings. Raises UsageError, SettingsError."""
    form, settings = visit.form, visit.dashboard.settings.read()
    routes = settings.routes_table()
    options = {" ".join(asdict(one).values()): one for one in (*routes, *known)}
    chosen = options.get(form.get("number", ""))
    rows = [{key: value for key, value in row if value is not None} for row in settings.routes]
    place = form.get("remove", "")
    if place.isdecimal() and int(place) < len(rows):
        return Change({"routes": rows[: int(place)] + rows[int(place) + 1 :]})
    if chosen is None:
        raise UsageError(say("no_number_chosen"))
    if "default" in form:
        # The gaps of the rules are filled from it: what they get from it today must stay.
        kept = [row | asdict(rule.route) for row, rule in zip(rows, routes.rules, strict=True)]
        parts = {f"callrail.{name}": value for name, value in asdict(chosen).items()}
        return Change(parts | ({"routes": kept} if rows != kept else {}))
    ids = {name: id_ for name in ("team_id", "sender_id") if (id_ := form.get(name, "").strip())}
    if not ids:
        raise UsageError(say("no_ids"))
    return Change({"routes": [*rows, ids | asdict(chosen)]})


async def show_opt_outs(visit: Visit, *, bad_lines: tuple[BadLine, ...] = (), fault: str = "") -> Response:
    return await _draw(
        visit,
        "opt-outs",
        opt_outs=await visit.dashboard.history.opt_outs(MOST_OPT_OUTS),
        numbers=visit.dashboard.operations.mapping.routes.tracking_numbers,
        listed=visit.form.get("list", ""),
        bad_lines=bad_lines,
        fault=fault,
    )


async def import_opt_outs(visit: Visit) -> Response:
    """Add a list that was pasted or chosen, like `opt-outs import`; bad lines stay in the form."""
    try:
        read = read_list(visit.form.get("list", "").encode(), now=visit.dashboard.clock.now())
        added = await visit.dashboard.operations.import_opt_outs(read.people, lambda _: None)
    except RelayError as error:
        return await show_opt_outs(visit, fault=str(error))
    words = say("imported", lines=plural(len(read.people), "line"), added=added)
    if read.bad_lines:
        fault = f"{words} {say('import_rest')}"
        return await show_opt_outs(visit, bad_lines=read.bad_lines, fault=fault)
    return visit.back(words)


async def download_opt_outs(visit: Visit) -> Response:
    """Download the whole list, as `opt-outs export` writes it."""
    return csv_file("opt-outs.csv", [UTF8_MARK, write_list(await visit.dashboard.operations.opt_outs())])


async def show_alerts(visit: Visit, *, refused: Saved | None = None) -> Response:
    editor, more = visit.dashboard.settings, dict[str, Any]()
    try:
        channels = await asyncio.to_thread(editor.channels)
    except RelayError as error:  # the file has a mistake, or Apprise is missing
        channels, more["broken"] = [], str(error)
    fixed = editor.fixed_by("alerts.urls")
    return await _draw(visit, "alerts", refused, channels=channels, fixed=fixed, **more)


async def change_channels(visit: Visit) -> Response:
    """Add or remove an alert channel. Its address is a secret, and shown nowhere."""
    address, place = visit.form.get("address", "").strip(), visit.form.get("remove", "")

    def change() -> Change:
        urls = [*visit.dashboard.settings.read().alerts.urls]
        if place.isdecimal() and int(place) < len(urls):
            del urls[int(place)]
            return Change({"alerts.urls": urls}, say("remove_address", place=int(place) + 1))
        lines = f"[alerts]\nurls = [..., {json.dumps(address)}]" if urls else None
        return Change({"alerts.urls": [*urls, address]}, lines)

    return await forms.save(visit, change, show_alerts)


async def try_alerts(visit: Visit) -> Response:
    if failed := await visit.dashboard.settings.try_alerts():
        raise NotAllowed(say("test_failed", names=", ".join(failed)))
    return visit.back(say("test_sent"))


async def show_security(visit: Visit, *, fault: str = "") -> Response:
    people = await visit.dashboard.login.people.all()
    return await _draw(visit, "security", me=visit.session.person, people=people, fault=fault)


async def add_person(visit: Visit) -> Response:
    """Add a person, who is the one that asks for it if they signed in by a link and say so."""
    form = visit.form
    person = await visit.dashboard.login.people.add(form.get("name", ""), form.get("password", ""))
    if "me" in form:
        session = replace(visit.session, person=person.name, stamp=person.stamp)
        return _goes_on(visit, say("person_me", name=person.name), session)
    return visit.back(say("person_added", name=person.name))


async def remove_person(visit: Visit) -> Response:
    """Remove a person, whose browsers are signed out by that."""
    await visit.dashboard.login.people.remove(visit.form.get("name", ""))
    return visit.back(say("person_removed"))


async def change_password(visit: Visit) -> Response:
    """Change one's own password; this browser stays signed in."""
    password, new = (visit.form.get(field, "") for field in ("password", "new_password"))
    try:
        person = await visit.dashboard.login.people.change_password(visit.session.person, password, new)
    except TooManyTries as error:
        return later(await show_security(visit, fault=str(error)), error.wait)
    except RelayError as error:
        return await show_security(visit, fault=str(error))
    return _goes_on(visit, say("password_changed"), replace(visit.session, stamp=person.stamp))


async def end_others(visit: Visit) -> Response:
    """Sign out every other browser, but not this one."""
    stamp = await visit.dashboard.login.people.end_sessions()
    return _goes_on(visit, say("others_out"), replace(visit.session, stamp=stamp))


def _goes_on(visit: Visit, words: str, session: Session) -> Response:
    """Let this browser, whose session ends with those of others, go on with *session*."""
    response = visit.back(words)
    visit.dashboard.login.set_cookie(visit.request, response, session)
    return response
