"""Metrics: of the outbox, read on request and the same on every node, and counts of this process."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from callrail_relay import __version__
from callrail_relay.clock import Clock
from callrail_relay.domain import events, read_table
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import ALL_WELL, Code, StoreStats, judge
from callrail_relay.domain.message import Source, Status, made_at
from callrail_relay.domain.outcome import OutcomeKind

PREFIX = "callrail_relay_"
_WORDS: dict[str, Any] = read_table(__package__, "metrics")
_LABELS: dict[str, list[str]] = {name: labels for name, (_, *labels) in _WORDS["counters"].items()}
_INTAKE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# From a text that is sent at once to one that waited for the next hour, and for the next day.
_DELIVERY_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 7200, 14_400, 86_400)

# The counter of each event, and its labels that the event itself doesn't have.
_COUNTED: Mapping[type[events.Event], tuple[str, dict[str, str]]] = {
    events.SubmissionAccepted: ("submissions", {}),
    events.PingReceived: ("pings", {}),
    events.AttemptFinished: ("attempts", {}),
    events.OutcomeFound: ("lookups", {"result": "found"}),
    events.LookupFailed: ("lookups", {"result": "failed"}),
    events.SentTwice: ("sent_twice", {}),
    events.AccountPaused: ("account_pauses", {}),
    events.AccountWaits: ("account_waits", {}),
    events.StoreFailed: ("failures", {"kind": "store"}),
    events.ProgramFailed: ("failures", {"kind": "program"}),
}


class Metrics:
    """Counts events, as a hook for them, and shows the counts beside the outbox's figures."""

    def __init__(self, clock: Clock, account_ids: Sequence[str] = ()) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {
            name: Counter(
                PREFIX + name, f"{words} Counted by this process.", _LABELS[name], registry=self._registry
            )
            for name, (words, *_) in _WORDS["counters"].items()
        }
        self._intake = self._histogram("intake_duration_seconds", _INTAKE_BUCKETS)
        self._delay = self._histogram("delivery_delay_seconds", _DELIVERY_BUCKETS)
        self._begin_at_zero(account_ids)

    def _histogram(self, name: str, buckets: Sequence[float]) -> Histogram:
        words, *labels = _WORDS["histograms"][name]
        return Histogram(PREFIX + name, words, labels, buckets=buckets, registry=self._registry)

    def _count(self, name: str, values: Mapping[str, object]) -> None:
        """Count one more; *values* has the counter's labels, and may have others."""
        counter, labels = self._counters[name], _LABELS[name]
        (counter.labels(*(values[label] for label in labels)) if labels else counter).inc()

    def _begin_at_zero(self, account_ids: Sequence[str]) -> None:
        """Show what never happened as 0: Prometheus sees no increase from nothing to 1."""
        known = {"source": Source, "outcome": OutcomeKind, "account_id": account_ids}
        for name, fixed in _COUNTED.values():
            values = {**known, **{label: [value] for label, value in fixed.items()}}
            labels = _LABELS[name]
            for each in product(*(values[label] for label in labels)) if labels else ():
                self._counters[name].labels(*each)

    def answered(self, hook: str, status: int, seconds: float) -> None:
        self._count("http_requests", {"hook": hook, "status": status})
        if status == 200:
            # How long strangers and broken connections take says nothing about the intake.
            self._intake.labels(hook).observe(seconds)

    def exposition(self, stats: StoreStats | None, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that *accept* asks for, and its type; *stats* may be missing."""
        encode, content_type = choose_encoder(accept)
        return encode(_Collector(self._registry, stats)), content_type

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.MessageHeld() | events.MessageAccepted(status=Status.HELD):
                for reason in event.reasons:
                    self._count("holds", {"reason": reason})
            case events.AttemptFinished(status=Status.SENT) | events.OutcomeFound(status=Status.SENT):
                if (arrived_at := made_at(event.message_id)) is not None:
                    self._delay.observe(max(0.0, (self._clock.now() - arrived_at).total_seconds()))
        if (counted := _COUNTED.get(type(event))) is not None:
            name, values = counted
            self._count(name, vars(event) | values)


class _Collector(Collector):
    def __init__(self, counted: Collector, stats: StoreStats | None) -> None:
        self._counted = counted
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        info = InfoMetricFamily(f"{PREFIX}build", "The program that answers.")
        info.add_metric((), {"version": __version__, "python_version": platform.python_version()})
        yield info
        yield _gauge("store_up", [((), self._stats is not None)])
        if self._stats is not None:
            yield from _read(self._stats)
        for metric in self._counted.collect():
            # The process's start time says when a counter began; a gauge of it for each would be noise.
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


def _read(stats: StoreStats) -> Iterator[Metric]:
    counts, now = stats.counts, stats.facts.now
    points = [point.code for point in judge(stats.facts)]
    codes = [code for code in Code if code not in (*ALL_WELL, Code.CHECK_FAILED)]
    of_codes = [((code.name.lower(), code.level), points.count(code)) for code in codes]
    undone = [((status,), count) for status, count in counts.undone.items()]
    since = {status: counts.oldest.get(status, now) for status in counts.undone}
    ages = [((status,), max(0.0, (now - at).total_seconds())) for status, at in since.items()]
    recent = [((status,), count) for status, count in counts.recent.items()]
    yield _gauge("well", [((), any(code in ALL_WELL for code in points))])
    yield _gauge("points", of_codes)
    yield _gauge("messages", undone)
    yield _gauge("oldest_message_age_seconds", ages)
    yield _gauge("recent_messages", recent)
    yield _gauge("releasing_messages", [((), counts.releasing)])
    yield _gauge("lookups_waiting", [((), counts.look_ups)])
    yield _gauge("opt_outs", [((), stats.opt_outs)])
    yield from _read_accounts(stats.facts.accounts)


def _read_accounts(statuses: Sequence[AccountStatus]) -> Iterator[Metric]:
    hours = [((one.account.id, "hour"), one.hour) for one in statuses]
    windows = [*hours, *(((one.account.id, "day"), one.day) for one in statuses)]
    accounts = [((one.account.id,), one, one.account) for one in statuses]
    empty = [(id_, one.drains_at.timestamp()) for id_, one, _ in accounts if one.drains_at is not None]
    yield _gauge("budget_used", [(labels, window.used) for labels, window in windows])
    yield _gauge("budget_allowed", [(labels, window.allowed) for labels, window in windows])
    yield _gauge("pending_segments", [(id_, one.pending) for id_, one, _ in accounts])
    yield _gauge("account_paused", [(id_, account.paused_since is not None) for id_, _, account in accounts])
    yield _gauge("account_waiting", [(id_, account.wait_until is not None) for id_, _, account in accounts])
    yield _gauge("queue_empty_timestamp_seconds", empty)


def _gauge(name: str, samples: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    words, *labels = _WORDS["gauges"][name]
    gauge = GaugeMetricFamily(PREFIX + name, words, labels=labels)
    for values, number in samples:
        gauge.add_metric(values, float(number))
    return gauge
