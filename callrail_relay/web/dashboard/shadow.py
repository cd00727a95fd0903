"""*Shadow mode*: what the old Zap did with each text, beside what the relay would have done."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from callrail_relay.domain.shadow import LATE_AFTER, Compared
from callrail_relay.errors import NotAllowed, NotFound
from callrail_relay.sentences import not_forwarded, roughly, totals
from callrail_relay.web.dashboard.frame import UTF8_MARK, Visit, csv_file
from callrail_relay.web.dashboard.words import WORDS, say

SHOWN = 50
PATIENCE = timedelta(seconds=5)


class Tab(NamedTuple):
    name: str
    words: str
    has: Callable[[Compared], bool]


def _of(finding: str) -> Callable[[Compared], bool]:
    return lambda one: finding in one.findings


TABS = (
    Tab("", say("findings"), lambda one: bool(one.findings or one.reasons)),
    *(Tab(finding, look["words"], _of(finding)) for finding, look in WORDS["findings"].items()),
    Tab("would_hold", say("would_hold"), lambda one: bool(one.reasons)),
    Tab("unknown", say("not_known"), lambda one: one.sent_at is None and not one.findings),
    Tab("all", say("all"), lambda _: True),
)


async def show(visit: Visit) -> Response:
    """Show the page, from the latest report: looking at it takes no request to CallRail."""
    comparison, query = visit.dashboard.comparison, visit.request.query_params
    report = comparison.latest()
    texts = [] if report is None else [*reversed(report.texts)]
    tab = next((one for one in TABS if one.name == query.get("finding")), TABS[0])
    found = [one for one in texts if tab.has(one)]
    number = query.get("page", "")
    last = max(0, len(found) - 1) // SHOWN + 1
    page = min(int(number), last) if number.isdecimal() and len(number) < 7 and int(number) else 1
    _, requests = await visit.dashboard.history.requests_in_shadow(None)
    return await visit.draw(
        "shadow.html",
        report=report,
        counts=report.counts if report else {"texts": None, "sent": None},
        said=totals(report, LATE_AFTER) if report else "",
        fault=comparison.fault,
        comparing=comparison.is_running,
        requests=requests,
        amiss=not_forwarded(requests),
        tabs=[(one, sum(map(one.has, texts))) for one in TABS],
        tab=tab,
        found=found[(page - 1) * SHOWN : page * SHOWN],
        page=page,
        last=last,
        roughly=roughly,
        address=_address,
    )


def _address(finding: str, page: int = 1) -> str:
    given = {name: value for name, value in (("finding", finding), ("page", page)) if value not in ("", 1)}
    return f"/shadow?{urlencode(given)}" if given else "/shadow"


async def compare(visit: Visit) -> Response:
    """Read CallRail's conversations and compare again, unless that is in progress."""
    comparison = visit.dashboard.comparison
    await comparison.renew(PATIENCE)
    if comparison.is_running:
        return visit.back(say("comparing"))
    if comparison.fault:
        raise NotAllowed(say("compared_partly"))
    return visit.back(say("compared"))


async def download(visit: Visit) -> Response:
    if (report := visit.dashboard.comparison.latest()) is None:
        raise NotFound(say("not_compared"))
    return csv_file(f"shadow-{report.until.astimezone():%Y-%m-%d}.csv", [UTF8_MARK, report.csv()])
