"""*Home*: the verdict, today's figures, what needs review, limits, and what came in."""

import asyncio
from dataclasses import dataclass, replace

from markupsafe import Markup
from starlette.responses import Response

from callrail_relay import sentences
from callrail_relay.domain.health import Code, Facts, Level, checklist, judge, most_pressing
from callrail_relay.domain.health import Point as Finding
from callrail_relay.web.dashboard.frame import Visit
from callrail_relay.web.dashboard.plots import midnight, plot
from callrail_relay.web.dashboard.review import grouped
from callrail_relay.web.dashboard.words import WORDS, say, sentence

SHOWN = 5  # messages that need review on the first page; the others are on their own


async def show(visit: Visit) -> Response:
    dashboard = visit.dashboard
    here = dashboard.clock.now()
    facts, today = await asyncio.gather(dashboard.facts(), dashboard.history.today(midnight(here)))
    arrivals = await dashboard.history.arrivals()
    shown = most_pressing(facts.accounts, sentences.MOST_SHOWN)
    frees_at = await dashboard.history.frees_at([one.account.id for one in shown])
    report = dashboard.examiner.latest().value
    failed = [] if report is None else report.failed_checks()
    facts = replace(facts, failed_checks=failed)
    points, waiting = render(facts), facts.waiting
    to_review = (*waiting.held.rows, *waiting.unknown.rows, *waiting.failed.rows)
    newest = sorted(to_review, key=lambda row: row.seq, reverse=True)
    return await visit.draw(
        "now.html",
        now=facts.now,
        facts=facts,
        for_person=waiting.for_person,
        points=points[: sentences.MOST_SHOWN],
        more_points=sentences.not_shown(len(points), "notice"),
        checklist=checklist(facts),
        steps=sentences.STEPS,
        todos=sentences.TODOS,
        today=today,
        kept=await dashboard.history.kept.get(),
        groups=grouped(newest)[:SHOWN],
        queue=sentences.queue_words(facts),
        running=sentences.running_words(facts),
        lately=sentences.seen_lately(facts),
        accounts=shown,
        frees_at=frees_at,
        more_accounts=sentences.not_shown(len(facts.accounts), "account"),
        plot=plot(visit.request.query_params.get("range", ""), arrivals, facts.now),
    )


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to know: a sentence, a detail, and a link. ``resume`` is an account to resume."""

    words: str
    detail: str = ""
    link: str = ""
    link_words: str = ""
    level: Level = Level.WELL
    resume: str = ""


SENTENCES = {Code[name]: Point(**row) for name, row in WORDS["points"].items()}


def render(facts: Facts) -> list[Point]:
    """Return the verdict, the most important first."""
    return [_point(finding, facts) for finding in judge(facts)]


def _point(finding: Finding, facts: Facts) -> Point:
    point = SENTENCES[finding.code]
    parameters = sentences.of_point(finding, facts) | {
        "detail": sentence(finding.reason, facts.now) if finding.reason else finding.detail,
        "queue": sentences.queue_words(facts) if finding.count else say("all_sent"),
    }
    words, detail = (Markup(text).format(**parameters).strip() for text in (point.words, point.detail))  # noqa: S704 - ours
    resume = finding.account_id if finding.code is Code.PAUSED else ""
    return replace(point, words=words, detail=detail, level=finding.code.level, resume=resume)
