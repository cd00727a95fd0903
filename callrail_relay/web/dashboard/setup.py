"""*Settings*: the checks, what can be changed in the settings file, the URL for IF3, numbers and opt-outs."""

import json
from datetime import timedelta

from starlette.responses import Response

from callrail_relay.domain.health import Condition
from callrail_relay.domain.mapper import map_direct
from callrail_relay.domain.message import Status
from callrail_relay.domain.opt_outs import BadLine, read_list, write_list
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.errors import RelayError, UsageError
from callrail_relay.sentences import plural, says
from callrail_relay.web.dashboard import forms
from callrail_relay.web.dashboard.forms import Refused
from callrail_relay.web.dashboard.frame import Visit

AGAIN = timedelta(seconds=5)
"""How old a result may be when a person asks to check again."""

TABS = {
    "": "Health",
    "sending": "Sending",
    "webhook": "Webhook",
    "numbers": "Numbers",
    "opt-outs": "Opt-outs",
    "alerts": "Alerts",
    "security": "Security",
}
STILL = ("sending", "alerts", "security")
MOST_BAD_LINES = 20


async def _draw(visit: Visit, page: str, refused: Refused | None = None, **more: object) -> Response:
    bad = bool(refused or more.get("fault"))
    frame: dict[str, object] = {"here": f"/setup/{page}".rstrip("/"), "tab": page, "tabs": TABS}
    frame |= forms.values(visit, page, refused)
    if bad or page in STILL:
        frame["still"] = True  # nothing takes away what a person types
    return await visit.draw(f"settings-{page or 'health'}.html", 422 if bad else 200, **frame | more)


async def show(visit: Visit, *, fault: str = "") -> Response:
    """*Health*: the checks, and a text to try it, as it was typed if that had a *fault*."""
    examined = visit.dashboard.examiner.latest()
    findings = () if examined is None else examined.report.findings
    by_gravity = [[one for one in findings if one.condition is condition] for condition in Condition]
    well, warnings, failures = by_gravity
    return await _draw(
        visit,
        "",
        fault=fault,
        trial={"message": "This is a test of our text relay."} | dict(visit.form),
        checked_at=None if examined is None else examined.at,
        checking=visit.dashboard.examiner.is_examining,
        amiss=failures + warnings,
        well=well,
        numbers=_numbers(visit),
    )


async def check(visit: Visit) -> Response:
    await visit.dashboard.examiner.recent(AGAIN, anew=True)
    return visit.back("Checked.", "/setup")


async def send(visit: Visit) -> Response:
    """Send a text that was typed on the page."""
    dashboard = visit.dashboard
    to, sender, text = (visit.form.get(name, "") for name in ("to", "from", "message"))
    try:
        draft = map_direct(to=to, text=text, sender=sender or None, routes=dashboard.mapping.routes)
        if draft.reasons:
            raise UsageError(" ".join(says(reason) for reason in draft.reasons))
        [accepted] = (await dashboard.intake.accept(dashboard.intake.direct(draft)))[0].accepted
    except RelayError as error:
        return await show(visit, fault=str(error))
    dashboard.wake()
    held = accepted.status is Status.HELD
    words = "The text is on hold: see why below." if held else "The text is in the queue."
    return visit.go(f"/texts/{accepted.message_id}", words)


async def show_sending(visit: Visit, *, refused: Refused | None = None) -> Response:
    return await _draw(visit, "sending", refused)


async def save(visit: Visit) -> Response:
    """Save one of the forms that are made from data."""
    form = forms.named(visit)
    typed = {one.key: one.typed(visit.form) for one in form.fields if one.key in visit.form}
    done = await forms.save(visit, form.name, typed, f"/setup/{form.page}")
    if isinstance(done, Refused):
        pages = {"sending": show_sending, "alerts": show_alerts}
        return await pages[form.page](visit, refused=done)
    return done


async def show_webhook(visit: Visit, *, url: str | None = None) -> Response:
    """The URL for IF3, in full if *url*, and when a text came last."""
    last = (await visit.dashboard.operations.facts()).last_from_if3
    return await _draw(visit, "webhook", url=url, last=last, public=visit.dashboard.public_url())


async def reveal(visit: Visit) -> Response:
    try:
        return await show_webhook(visit, url=await visit.dashboard.read_url())
    except RelayError as error:
        return visit.back(str(error), "/setup/webhook", fault=True)


async def show_numbers(visit: Visit, *, refused: Refused | None = None) -> Response:
    """Which number each person or team texts from, by the names that CallRail gives them."""
    names, routes, editor = await visit.dashboard.names(), _routes(visit), visit.dashboard.settings
    fixed = [editor.fixed_by(key) for key in ("routes", "callrail.tracking_number")]
    return await _draw(
        visit,
        "numbers",
        refused,
        rules=[(_whose(rule.team_id, rule.sender_id), rule.route) for rule in routes.rules],
        default=routes.default,
        known=dict.fromkeys(routes, "") | dict(names.numbers if names else {}),
        names=names,
        fixed=[one for one in fixed if one],
    )


async def change_numbers(visit: Visit) -> Response:
    """Add or remove a rule, or choose the number of all others."""
    form, names = visit.form, await visit.dashboard.names()
    known = [*_routes(visit), *(names.numbers if names else ())]
    chosen = next((one for one in known if _id(one) == form.get("number")), None)
    done: Response | Refused
    try:
        done = await forms.save(visit, "numbers", _changed_numbers(visit, chosen), "/setup/numbers")
    except RelayError as error:
        done = Refused(form="numbers", typed=form, fault=str(error))
    return await show_numbers(visit, refused=done) if isinstance(done, Refused) else done


def _changed_numbers(visit: Visit, chosen: Route | None) -> dict[str, object]:
    """What the form changes in the settings. Raises UsageError, SettingsError."""
    form, settings = visit.form, visit.dashboard.settings.read()
    rows = [{key: value for key, value in row if value is not None} for row in settings.routes]
    place = form.get("remove", "")
    if place.isdecimal() and int(place) < len(rows):
        return {"routes": rows[: int(place)] + rows[int(place) + 1 :]}
    if chosen is None:
        raise UsageError("Choose a number.")
    if "default" in form:
        # The gaps of the rules are filled from it: what they have from it today is to stay.
        kept = [
            row | _parts(rule.route) for row, rule in zip(rows, settings.routes_table().rules, strict=True)
        ]
        return {f"callrail.{name}": value for name, value in _parts(chosen).items()} | (
            {"routes": kept} if rows != kept else {}
        )
    ids = {name: id_ for name in ("team_id", "sender_id") if (id_ := form.get(name, "").strip())}
    if not ids:
        raise UsageError("Enter a team or a sender.")
    return {"routes": [*rows, ids | _parts(chosen)]}


async def show_opt_outs(visit: Visit, *, bad_lines: tuple[BadLine, ...] = (), fault: str = "") -> Response:
    return await _draw(
        visit,
        "opt-outs",
        opt_outs=await visit.dashboard.history.opt_outs(),
        numbers=_numbers(visit),
        listed=visit.form.get("list", "") if fault else "",
        bad_lines=bad_lines[:MOST_BAD_LINES],
        more_bad_lines=max(0, len(bad_lines) - MOST_BAD_LINES),
        fault=fault,
    )


async def import_opt_outs(visit: Visit) -> Response:
    """Add a list that was pasted or chosen, as `opt-outs import` does; bad lines stay in the form."""
    try:
        read = read_list(visit.form.get("list", "").encode(), now=visit.dashboard.clock.now())
        added = await visit.dashboard.operations.import_opt_outs(read.people, lambda _: None)
    except RelayError as error:
        return await show_opt_outs(visit, fault=str(error))
    visit.dashboard.signal()
    words = f"{plural(len(read.people), 'line')} read; {added:,} new on the list."
    if read.bad_lines:
        fault = f"{words} Fix the others, and import again."
        return await show_opt_outs(visit, bad_lines=read.bad_lines, fault=fault)
    return visit.go("/setup/opt-outs", words)


async def download_opt_outs(visit: Visit) -> Response:
    """The whole list, as `opt-outs export` writes it."""
    found = await visit.dashboard.operations.opt_outs()
    headers = {"Content-Disposition": 'attachment; filename="opt-outs.csv"'}
    return Response(write_list(found).encode("utf-8-sig"), media_type="text/csv", headers=headers)


async def show_alerts(visit: Visit, *, refused: Refused | None = None) -> Response:
    editor, more = visit.dashboard.settings, dict[str, object]()
    try:
        channels = editor.channels()
    except RelayError as error:  # the file has a mistake, or Apprise is missing
        channels, more["broken"] = [], str(error)
    return await _draw(
        visit, "alerts", refused, channels=channels, fixed=editor.fixed_by("alerts.urls"), **more
    )


async def change_channels(visit: Visit) -> Response:
    """Add or remove an alert channel. Its address is a secret, and shown nowhere."""
    form, editor = visit.form, visit.dashboard.settings
    address, place = form.get("address", "").strip(), form.get("remove", "")
    try:
        urls = list(editor.read().alerts.urls)
    except RelayError as error:
        return await show_alerts(visit, refused=Refused(form="channels", typed=form, fault=str(error)))
    if place.isdecimal() and int(place) < len(urls):
        del urls[int(place)]
        lines: str | None = f"# Under [alerts], remove address {int(place) + 1} from urls."
    else:
        urls.append(address)
        lines = f"[alerts]\nurls = [..., {json.dumps(address)}]" if len(urls) > 1 else None
    done = await forms.save(visit, "channels", {"alerts.urls": urls}, "/setup/alerts", lines=lines)
    return await show_alerts(visit, refused=done) if isinstance(done, Refused) else done


async def try_alerts(visit: Visit) -> Response:
    try:
        failed = await visit.dashboard.settings.try_alerts()
    except RelayError as error:
        return visit.back(str(error), "/setup/alerts", fault=True)
    words = f"{', '.join(failed)} did not take the alert. Check the address and the network."
    return visit.back(words if failed else "Test sent.", "/setup/alerts", fault=bool(failed))


async def show_security(visit: Visit) -> Response:
    people = await visit.dashboard.login.people.all()
    return await _draw(visit, "security", me=visit.session.person, people=people)


def _numbers(visit: Visit) -> list[str]:
    return list(dict.fromkeys(route.tracking_number for route in visit.dashboard.mapping.routes))


def _routes(visit: Visit) -> Routes:
    """The routes as the file has them, or those in use if it can't be read."""
    try:
        return visit.dashboard.settings.read().routes_table()
    except RelayError:
        return visit.dashboard.mapping.routes


def _parts(route: Route) -> dict[str, str]:
    return {name: getattr(route, name) for name in Route.__slots__}


def _id(route: Route) -> str:
    return " ".join(_parts(route).values())


def _whose(team_id: object, sender_id: object) -> str:
    ids = {"team": team_id, "sender": sender_id}
    return " and ".join(f"{name} {id_}" for name, id_ in ids.items() if id_).capitalize()
