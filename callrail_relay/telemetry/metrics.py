"""Metrics: of the outbox, read on request and the same on every node, and what this process counted."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from callrail_relay import __version__
from callrail_relay.clock import Clock
from callrail_relay.domain import events
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Code, StoreStats, judge
from callrail_relay.domain.message import Source, Status, made_at
from callrail_relay.domain.outcome import OutcomeKind

PREFIX = "callrail_relay"
_INTAKE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# From a text that is sent at once to one that waited for the next hour, and for the next day.
_DELIVERY_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 7200, 14_400, 86_400)


class Metrics:
    """Counts events, being a hook for them, and shows what it counted beside what the outbox says."""

    def __init__(self, clock: Clock, account_ids: Sequence[str] = ()) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._submissions = self._counter("submissions", "Requests that were stored.", "source")
        self._pings = self._counter("pings", "Requests without content, which are not stored.")
        self._holds = self._counter("holds", "Texts that were held, once for each reason.", "reason")
        self._attempts = self._counter("attempts", "Attempts that ended.", "account_id", "outcome")
        self._lookups = self._counter("lookups", "Answers from CallRail's conversations.", "result")
        self._sent_twice = self._counter("sent_twice", "Texts that CallRail turned out to have taken twice.")
        self._pauses = self._counter("account_pauses", "Pauses that CallRail caused.", "account_id")
        self._waits = self._counter("account_waits", "Times that an account began to wait.", "account_id")
        self._failures = self._counter("failures", "Faults of the store and of the program.", "kind")
        self._requests = self._counter("http_requests", "Requests to the webhooks.", "hook", "status")
        self._intake = Histogram(
            f"{PREFIX}_intake_duration_seconds",
            "From a webhook's request to the answer that it is on disk.",
            ("hook",),
            buckets=_INTAKE_BUCKETS,
            registry=self._registry,
        )
        self._delay = Histogram(
            f"{PREFIX}_delivery_delay_seconds",
            "From the arrival of a text to CallRail's word that it took all of it.",
            buckets=_DELIVERY_BUCKETS,
            registry=self._registry,
        )
        self._counting: dict[type[events.Event], Callable[[Any], None]] = {
            events.SubmissionAccepted: lambda event: self._submissions.labels(event.source).inc(),
            events.PingReceived: lambda _: self._pings.inc(),
            events.MessageAccepted: self._accepted,
            events.MessageHeld: self._held,
            events.AttemptFinished: self._attempted,
            events.OutcomeFound: self._found,
            events.LookupFailed: lambda _: self._lookups.labels("failed").inc(),
            events.SentTwice: lambda _: self._sent_twice.inc(),
            events.AccountPaused: lambda event: self._pauses.labels(event.account_id).inc(),
            events.AccountWaits: lambda event: self._waits.labels(event.account_id).inc(),
            events.StoreFailed: lambda _: self._failures.labels("store").inc(),
            events.ProgramFailed: lambda _: self._failures.labels("program").inc(),
        }
        self._begin_at_zero(account_ids)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        words = f"{words} Counted by this process."
        return Counter(f"{PREFIX}_{name}", words, labels, registry=self._registry)

    def _begin_at_zero(self, account_ids: Sequence[str]) -> None:
        """Show what never happened as 0: from nothing to 1 Prometheus sees no increase."""
        for source in Source:
            self._submissions.labels(source)
        for result in ("found", "failed"):
            self._lookups.labels(result)
        for kind in ("store", "program"):
            self._failures.labels(kind)
        for account_id in account_ids:
            for outcome in OutcomeKind:
                self._attempts.labels(account_id, outcome)
            self._pauses.labels(account_id)
            self._waits.labels(account_id)

    def answered(self, hook: str, status: int, seconds: float) -> None:
        self._requests.labels(hook, status).inc()
        if status == 200:
            # How long strangers and broken connections take says nothing about the intake.
            self._intake.labels(hook).observe(seconds)

    def exposition(self, stats: StoreStats | None, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that *accept* asks for, and its content type; *stats* may be missing."""
        encode, content_type = choose_encoder(accept)
        return encode(_Together(self._registry, stats)), content_type

    def __call__(self, event: events.Event) -> None:
        if count := self._counting.get(type(event)):
            count(event)

    def _accepted(self, event: events.MessageAccepted) -> None:
        if event.status is Status.HELD:
            self._held(event)

    def _attempted(self, event: events.AttemptFinished) -> None:
        self._attempts.labels(event.account_id, event.outcome).inc()
        self._finished(event)

    def _found(self, event: events.OutcomeFound) -> None:
        self._lookups.labels("found").inc()
        self._finished(event)

    def _held(self, event: events.MessageAccepted | events.MessageHeld) -> None:
        for reason in event.reasons:
            self._holds.labels(reason).inc()

    def _finished(self, event: events.AttemptFinished | events.OutcomeFound) -> None:
        arrived_at = made_at(event.message_id) if event.status is Status.SENT else None
        if arrived_at is not None:
            self._delay.observe(max(0.0, (self._clock.now() - arrived_at).total_seconds()))


class _Together(Collector):
    def __init__(self, counted: Collector, stats: StoreStats | None) -> None:
        self._counted = counted
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        info = InfoMetricFamily(f"{PREFIX}_build", "The program that answers.")
        info.add_metric((), {"version": __version__, "python_version": platform.python_version()})
        yield info
        yield _gauge("store_up", "Whether the store answered.", [((), self._stats is not None)])
        if self._stats is not None:
            yield from _read(self._stats)
        for metric in self._counted.collect():
            # The start of the process says when a counter began; a gauge of it for each is noise.
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


def _read(stats: StoreStats) -> Iterator[Metric]:
    counts, now = stats.counts, stats.facts.now
    points = [point.code for point in judge(stats.facts)]
    codes = [code for code in Code if code not in (Code.WELL, Code.CHECK_FAILED)]
    of_codes = [((code.name.lower(), code.level), points.count(code)) for code in codes]
    undone = [((status,), count) for status, count in counts.undone.items()]
    since = {status: counts.oldest.get(status, now) for status in counts.undone}
    ages = [((status,), max(0.0, (now - at).total_seconds())) for status, at in since.items()]
    recent = [((status,), count) for status, count in counts.recent.items()]
    yield _gauge("well", "Whether all is well, as `status` judges it.", [((), Code.WELL in points)])
    yield _gauge("points", "What there is to know, as `status` says it.", of_codes, "code", "level")
    yield _gauge("messages", "Texts that are not done, by status.", undone, "status")
    words = "Since when the oldest text of this status has been there; 0 if there is none."
    yield _gauge("oldest_message_age_seconds", words, ages, "status")
    words = "Texts that came in within the last 24 hours, by the status they have now."
    yield _gauge("recent_messages", words, recent, "status")
    for name, words, number in (
        ("releasing_messages", "Held texts that are sent by themselves, such as at night.", counts.releasing),
        ("lookups_waiting", "Attempts whose outcome is looked up in CallRail.", counts.look_ups),
        ("opt_outs", "Entries on the list of people who opted out.", stats.opt_outs),
    ):
        yield _gauge(name, words, [((), number)])
    yield from _read_accounts(stats.facts.standings)


def _read_accounts(standings: Sequence[AccountStatus]) -> Iterator[Metric]:
    hours = [((one.account.id, "hour"), one.hour) for one in standings]
    windows = [*hours, *(((one.account.id, "day"), one.day) for one in standings)]
    used = [(labels, window.used) for labels, window in windows]
    allowed = [(labels, window.allowed) for labels, window in windows]
    words = "Texts that count in the window that ends now, those of other programs included."
    yield _gauge("budget_used", words, used, "account_id", "window")
    yield _gauge("budget_allowed", "Texts that may count in the window.", allowed, "account_id", "window")
    for name, words, of in (
        ("pending_segments", "Segments that wait to be sent.", lambda one: one.pending),
        ("account_paused", "Whether the account is paused.", lambda one: bool(one.account.paused_since)),
        ("account_waiting", "Whether it waits for CallRail.", lambda one: one.account.wait_until is not None),
    ):
        yield _gauge(name, words, [((one.account.id,), of(one)) for one in standings], "account_id")
    empty = [((one.account.id,), one.drains_at.timestamp()) for one in standings if one.drains_at is not None]
    words = "When the queue of the account will be empty; there is none while it is, or is paused."
    yield _gauge("queue_empty_timestamp_seconds", words, empty, "account_id")


Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, words: str, samples: Samples, *labels: str) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=labels)
    for values, number in samples:
        gauge.add_metric(values, float(number))
    return gauge
