"""*Setup*: the checks with their remedies, the URL for IF3, routes, opt-outs, and a text to try it."""

from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response

from callrail_relay.domain.health import Condition
from callrail_relay.domain.mapper import map_direct
from callrail_relay.domain.message import Status
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.errors import RelayError, UsageError
from callrail_relay.sentences import says
from callrail_relay.web.dashboard.frame import Visit

AGAIN = timedelta(seconds=5)
"""How old a result may be when a person asks to check again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The test text as it is in the form, and why it was not sent."""

    to: str = ""
    sender: str = ""
    text: str = "This is a test of our text relay."
    fault: str = ""


UNTRIED = Trial()


async def show(visit: Visit, *, url: str | None = None, trial: Trial = UNTRIED) -> Response:
    """The page; with *url* it shows the one for IF3 in full."""
    dashboard = visit.dashboard
    examined, routes = dashboard.examiner.latest(), dashboard.mapping.routes
    findings = () if examined is None else examined.report.findings
    by_gravity = [[one for one in findings if one.condition is condition] for condition in Condition]
    well, warnings, failures = by_gravity
    return await visit.draw(
        "setup.html",
        422 if trial.fault else 200,
        here="/setup",
        url=url,
        trial=trial,
        checked_at=None if examined is None else examined.at,
        checking=dashboard.examiner.is_examining,
        amiss=failures + warnings,
        well=well,
        routes=_rules(routes),
        numbers=list(dict.fromkeys(route.tracking_number for route in routes)),
        opt_outs=await dashboard.history.opt_outs(),
        me=visit.session.person,
        people=await dashboard.login.people.all(),
    )


async def reveal(visit: Visit) -> Response:
    try:
        return await show(visit, url=await visit.dashboard.read_url())
    except RelayError as error:
        return visit.back(str(error), "/setup", fault=True)


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
        return await show(visit, trial=Trial(to=to, sender=sender, text=text, fault=str(error)))
    dashboard.wake()
    held = accepted.status is Status.HELD
    words = "The text is held: see why below." if held else "The text is in the queue."
    return visit.go(f"/texts/{accepted.message_id}", words)


def _rules(routes: Routes) -> list[tuple[str, Route]]:
    """Which number each person or team texts from, in the order in which the rules are tried."""
    rows: list[tuple[str, Route]] = []
    for rule in routes.rules:
        ids = {"team": rule.team_id, "sender": rule.sender_id}
        whose = " and ".join(f"{name} {id_}" for name, id_ in ids.items() if id_)
        rows.append((whose.capitalize(), rule.route))
    if routes.default is not None:
        rows.append(("Everyone else" if rows else "Everyone", routes.default))
    return rows
