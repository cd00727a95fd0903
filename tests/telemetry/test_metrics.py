"""Metrics: what is counted, what is read, and that Prometheus and Grafana take it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callrail_relay.domain.account import Window
from callrail_relay.domain.delivery import AccountStatus, Counts
from callrail_relay.domain.events import (
    AccountPaused,
    AccountWaits,
    AttemptFinished,
    AttemptStarted,
    Event,
    LookupFailed,
    MessageAccepted,
    MessageHeld,
    OutcomeFound,
    PingReceived,
    ProgramFailed,
    RepeatReceived,
    SentTwice,
    StoreFailed,
    SubmissionAccepted,
)
from callrail_relay.domain.health import Facts, Node, Running, StoreStats
from callrail_relay.domain.message import Reason, Source, Status, uuid7
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.views import Waiting
from callrail_relay.telemetry.metrics import Metrics
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_account
from tests.support.parts import need

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "callrail-relay.json"
MESSAGE_ID = uuid7(START, Random(1))
MINUTE = timedelta(minutes=1)

FINISHED = AttemptFinished(
    message_id=MESSAGE_ID,
    account_id=ACCOUNT,
    position=1,
    outcome=OutcomeKind.SENT,
    http_status=200,
    status=Status.SENT,
)
EVENTS: list[Event] = [
    SubmissionAccepted(submission_id="s", source=Source.WEBHOOK, messages=1),
    MessageAccepted(message_id=MESSAGE_ID, submission_id="s", status=Status.HELD, reasons=("opt_out",)),
    MessageAccepted(message_id=MESSAGE_ID, submission_id="s", status=Status.QUEUED, reasons=("duplicate",)),
    MessageHeld(message_id=MESSAGE_ID, reasons=("too_old", "opt_out")),
    PingReceived(),
    RepeatReceived(submission_id="s"),
    AttemptStarted(message_id=MESSAGE_ID, account_id=ACCOUNT, position=1),
    FINISHED,
    replace(FINISHED, outcome=OutcomeKind.UNKNOWN, status=Status.UNKNOWN),
    OutcomeFound(message_id=MESSAGE_ID, status=Status.SENT, detail="CallRail shows it."),
    LookupFailed(message_id=MESSAGE_ID, reason="CallRail cannot be reached."),
    SentTwice(message_id=MESSAGE_ID),
    AccountPaused(account_id=ACCOUNT, reason="CallRail refused the key."),
    AccountWaits(account_id=ACCOUNT, until=START, reason="CallRail's rate limit is reached."),
    StoreFailed(reason="It is locked.", retry_in=MINUTE),
    ProgramFailed(reason="KeyError", retry_in=MINUTE),
]

STATS = StoreStats(
    counts=Counts(
        undone={Status.HELD: 2, Status.QUEUED: 0, Status.SENDING: 0, Status.UNKNOWN: 1},
        oldest={Status.HELD: START - MINUTE, Status.UNKNOWN: START + MINUTE},
        recent=dict.fromkeys(Status, 3),
        releasing=1,
        look_ups=1,
    ),
    facts=Facts(
        now=START,
        running=Running(),
        waiting=Waiting(),
        accounts=(
            AccountStatus(
                account=make_account().paused(START, Reason("by_hand", {"note": "Lunch."})),
                hour=Window(150, 150, START + MINUTE),
                day=Window(151, 1000),
                pending=4,
                drains_at=START + MINUTE,
            ),
        ),
    ),
    opt_outs=5,
)

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START + timedelta(seconds=3))


@pytest.fixture
def metrics(clock: ManualClock) -> Metrics:
    """Metrics of a process in which everything happened once."""
    metrics = Metrics(clock, [ACCOUNT])
    for event in EVENTS:
        metrics(event)
    metrics.answered("if3", 200, 0.004)
    metrics.answered("if3", 404, 0.001)
    return metrics


def text_of(metrics: Metrics, stats: StoreStats | None = STATS) -> str:
    return metrics.exposition(stats, "")[0].decode()


def samples(metrics: Metrics, stats: StoreStats | None = STATS) -> Samples:
    """The value of each sample by its name and its labels' values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text_of(metrics, stats))
        for sample in family.samples
    }


def of(found: Samples, name: str) -> dict[tuple[str, ...], float]:
    """What is not 0 of one metric."""
    return {
        labels: value for (full, labels), value in found.items() if full == f"callrail_relay_{name}" and value
    }


def test_each_event_is_counted_where_it_belongs(metrics: Metrics) -> None:
    found = samples(metrics)

    assert {("webhook",): 1} == of(found, "submissions_total")
    assert {(): 1} == of(found, "pings_total")
    assert {("opt_out",): 2, ("too_old",): 1} == of(found, "holds_total")
    assert {(ACCOUNT, "Sent"): 1, (ACCOUNT, "Unknown"): 1} == of(found, "attempts_total")
    assert {("found",): 1, ("failed",): 1} == of(found, "lookups_total")
    assert {(): 1} == of(found, "sent_twice_total")
    assert {(ACCOUNT,): 1} == of(found, "account_pauses_total") == of(found, "account_waits_total")
    assert {("store",): 1, ("program",): 1} == of(found, "failures_total")
    assert {("if3", "200"): 1, ("if3", "404"): 1} == of(found, "http_requests_total")


def test_the_way_of_a_text_is_timed_by_its_id(metrics: Metrics) -> None:
    """
    From its arrival to each word of CallRail that it has all of it; an id without a time is passed over.
    """
    metrics(replace(FINISHED, message_id="00000000-0000-0000-0000-000000000001"))
    metrics(replace(FINISHED, message_id="nothing"))
    found = samples(metrics)

    assert {(): 2} == of(found, "delivery_delay_seconds_count")
    assert {(): 6} == of(found, "delivery_delay_seconds_sum")
    assert {("if3",): 1} == of(found, "intake_duration_seconds_count")


def test_the_outbox_is_shown_as_it_was_read(metrics: Metrics) -> None:
    found = samples(metrics)

    assert {("held",): 2, ("unknown",): 1} == of(found, "messages")
    # One whose clock was ahead is not of a negative age.
    assert {(): 1} == of(found, "releasing_messages")
    assert {("held",): 60} == of(found, "oldest_message_age_seconds")
    assert {(status.value,): 3 for status in Status} == of(found, "recent_messages")
    assert {(ACCOUNT, "hour"): 150, (ACCOUNT, "day"): 151} == of(found, "budget_used")
    assert {(ACCOUNT, "hour"): 150, (ACCOUNT, "day"): 1000} == of(found, "budget_allowed")
    assert {(ACCOUNT,): 1} == of(found, "account_paused")
    assert {} == of(found, "account_waiting")
    assert {(ACCOUNT,): 4} == of(found, "pending_segments")
    assert {(ACCOUNT,): (START + MINUTE).timestamp()} == of(found, "queue_empty_timestamp_seconds")
    assert ({(): 5}, {(): 1}, {(): 1}) == tuple(
        of(found, name) for name in ("opt_outs", "lookups_waiting", "store_up")
    )


def test_the_verdict_of_status_is_a_number(metrics: Metrics) -> None:
    """Which points it has, and whether all is well."""
    found = samples(metrics)

    assert {("not_running", "bad"): 1, ("paused", "bad"): 1} == of(found, "points")
    assert 0 == found["callrail_relay_well", ()]
    [status] = STATS.facts.accounts
    quiet = replace(status, account=make_account(), hour=Window(0, 150))
    running = replace(STATS.facts, accounts=(quiet,), running=Running((Node(name="office"),)))
    assert {(): 1} == of(samples(metrics, replace(STATS, facts=running)), "well")


def test_a_silent_store_is_told_beside_what_was_counted(metrics: Metrics) -> None:
    found = samples(metrics, None)

    assert 0 == found["callrail_relay_store_up", ()]
    assert {("webhook",): 1} == of(found, "submissions_total")
    assert {} == of(found, "messages")


def test_what_never_happened_is_there_as_zero(clock: ManualClock) -> None:
    """Prometheus sees an increase only from a value to another."""
    quiet = Metrics(clock, [ACCOUNT])
    found = samples(quiet)

    assert dict.fromkeys(OutcomeKind, 0.0) == {
        outcome: found["callrail_relay_attempts_total", (ACCOUNT, outcome)] for outcome in OutcomeKind
    }
    assert 0 == found["callrail_relay_failures_total", ("store",)]


def test_nothing_else_in_the_process_shows(metrics: Metrics) -> None:
    """Two of them count apart, and the registry that all libraries share stays out."""
    names = {name for name, _ in samples(metrics)}

    assert not [name for name in names if not name.startswith(("callrail_relay_", "process_"))]
    assert not [name for name in names if name.endswith("_created")]
    assert {} == of(samples(Metrics(ManualClock())), "submissions_total")


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"]
)
def test_the_format_is_the_one_that_was_asked_for(metrics: Metrics, accept: str) -> None:
    content, content_type = metrics.exposition(STATS, accept)

    assert content_type.startswith(accept.partition(";")[0] or "text/plain")
    assert b"callrail_relay_submissions_total" in content


def test_promtool_finds_nothing_to_better(metrics: Metrics) -> None:
    """Names, units and help texts follow Prometheus' conventions."""
    for stats in (STATS, None):
        checked = subprocess.run(
            [need("promtool"), "check", "metrics"],
            input=text_of(metrics, stats),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

        assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)


def queries() -> Iterator[str]:
    """Every query of the Grafana dashboard."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_grafana_asks_for_what_there_is(metrics: Metrics) -> None:
    """Each metric and each label of its queries is in the real output, and no metric of ours is left out."""
    shown = samples(metrics)
    names = {name for name, _ in shown}
    labels = {
        label
        for family in text_string_to_metric_families(text_of(metrics))
        for sample in family.samples
        for label in sample.labels
    } | {"job", "instance"}
    asked = {name for query in queries() for name in re.findall(r"\b(?:callrail_relay|process)_\w+", query)}
    grouped = {
        label.strip()
        for query in queries()
        for group in re.findall(r"\bby \(([^)]*)\)", query)
        for label in group.split(",")
    }
    filtered = {label for query in queries() for label in re.findall(r"[{,](\w+)[!=]", query)}

    if sys.platform != "linux":  # only there does the process tell of itself
        asked = {name for name in asked if not name.startswith("process_")}
    assert asked <= names
    assert grouped | filtered <= labels
    ours = (name for name in names - asked if name.startswith("callrail_relay_"))
    left_out = {name.removeprefix("callrail_relay_") for name in ours}
    details = {name for name in left_out if name.endswith(("_count", "_sum"))}
    assert {"account_waiting", "pings_total", "points", "submissions_total", "well"} == left_out - details


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, which is the form in which promtool reads queries; Grafana fills in its variables before."""
    rules = tmp_path / "rules.json"  # JSON is YAML
    expressions = [
        query.replace("$__rate_interval", "5m").replace("$job", "callrail-relay") for query in queries()
    ]
    group = {
        "name": "dashboard",
        "rules": [{"record": f"query:{number}", "expr": one} for number, one in enumerate(expressions)],
    }
    rules.write_text(json.dumps({"groups": [group]}), encoding="utf-8")

    checked = subprocess.run(
        [need("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )

    assert 0 == checked.returncode, checked.stderr
    assert f"{len(expressions)} rules found" in checked.stdout


def test_the_reference_names_every_metric(metrics: Metrics) -> None:
    """Each of ours has its row, with its labels, and no row is about one that there is not."""
    page = (DASHBOARD.parents[1] / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(callrail_relay_\w+)` \| (.*?) \|", page, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text_of(metrics)):
        for sample in family.samples:
            suffix = r"_(?:bucket|count|sum)$" if family.type == "histogram" else "$^"
            shown.setdefault(re.sub(suffix, "", sample.name), set()).update(set(sample.labels) - {"le"})

    assert documented == {
        name: labels for name, labels in shown.items() if name.startswith("callrail_relay_")
    }
