"""*Setup*: the checks with their remedies, the URL for IF3, routes, opt-outs, and a text to try it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.mapper import MappingPolicy, map_direct
from callrail_relay.domain.message import Status
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.errors import RelayError, UsageError
from callrail_relay.sentences import says
from callrail_relay.service.health import CheckResult, Condition
from callrail_relay.service.intake import Intake
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.frame import Examiner, Form, Frame

AGAIN = timedelta(seconds=5)
"""How old a result may be when a person asks to check again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The test text as it is in the form, and why it was not sent."""

    to: str = ""
    sender: str = ""
    text: str = "This is a test of our text relay."
    fault: str = ""


class SetupPage:
    """*read_url* returns the URL for IF3, and raises SecretError if there is none."""

    def __init__(
        self,
        frame: Frame,
        history: History,
        examiner: Examiner,
        intake: Intake,
        mapping: MappingPolicy,
        read_url: Callable[[], Awaitable[str]],
        wake: Callable[[], None],
    ) -> None:
        self._frame = frame
        self._history = history
        self._examiner = examiner
        self._intake = intake
        self._mapping = mapping
        self._read_url = read_url
        self._wake = wake

    async def reveal(self, request: Request, session: Session, form: Form) -> Response:
        """The same page with the URL for IF3 in full."""
        try:
            return await self.show(request, session, url=await self._read_url())
        except RelayError as error:
            return await self._frame.not_done(session, form, error, back="/setup")

    async def show(
        self, request: Request, session: Session, *, url: str | None = None, trial: Trial | None = None
    ) -> Response:
        examined = self._examiner.latest()
        findings = () if examined is None else sorted(examined.report.findings, key=_gravity)
        return await self._frame.draw(
            request,
            session,
            "setup.html",
            422 if trial else 200,
            here="/setup",
            url=url,
            trial=trial or Trial(),
            checked_at=None if examined is None else examined.at,
            checking=self._examiner.is_examining,
            amiss=[one for one in findings if one.condition is not Condition.OK],
            well=[one for one in findings if one.condition is Condition.OK],
            routes=_rules(self._mapping.routes),
            numbers=list(dict.fromkeys(route.tracking_number for route in self._mapping.routes)),
            opt_outs=await self._history.opt_outs(),
        )

    async def check(self, request: Request, session: Session, form: Form) -> Response:
        await self._examiner.recent(AGAIN, anew=True)
        return await self._frame.done(session, form, "Checked.", back="/setup")

    async def send(self, request: Request, session: Session, form: Form) -> Response:
        """Send a text that was typed on the page."""
        to, sender, text = form.get("to", ""), form.get("from", ""), form.get("message", "")
        try:
            draft = map_direct(to=to, text=text, sender=sender or None, routes=self._mapping.routes)
            if draft.reasons:
                raise UsageError(" ".join(says(reason) for reason in draft.reasons))
            [accepted] = (await self._intake.accept(self._intake.direct(draft)))[0].accepted
        except RelayError as error:
            trial = Trial(to=to, sender=sender, text=text, fault=str(error))
            return await self.show(request, session, trial=trial)
        self._wake()
        held = accepted.status is Status.HELD
        words = "The text is held: see why below." if held else "The text is in the queue."
        return await self._frame.done(session, {}, words, back=f"/texts/{accepted.message_id}")


def _gravity(finding: CheckResult) -> int:
    """Errors come first."""
    return [Condition.FAILED, Condition.WARNING, Condition.OK].index(finding.condition)


def _rules(routes: Routes) -> list[tuple[str, str, str, str]]:
    """Which number each person or team texts from, in the order in which the rules are tried."""
    rows: list[tuple[str, Route]] = []
    for rule in routes.rules:
        ids = {"team": rule.team_id, "sender": rule.sender_id}
        whose = " and ".join(f"{name} {id_}" for name, id_ in ids.items() if id_)
        rows.append((whose.capitalize(), rule.route))
    if routes.default is not None:
        rows.append(("Everyone else" if rows else "Everyone", routes.default))
    return [(whose, one.tracking_number, one.company_id, one.account_id) for whose, one in rows]
