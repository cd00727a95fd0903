"""Metrics of one run."""

from callrail_relay.bootstrap.context import Installation
from callrail_relay.bootstrap.wiring import Relay
from callrail_relay.errors import Unavailable
from callrail_relay.service.gauges import Gauges
from callrail_relay.telemetry.metrics import Metrics
from callrail_relay.web.metrics import Scrape


def count_events(installation: Installation) -> Metrics:
    """Metrics of this run, which are a hook for its events."""
    metrics = Metrics(installation.clock)
    for account_id in installation.account_ids:
        metrics.begin_account(account_id)
    return metrics


def scrape(relay: Relay, metrics: Metrics) -> Scrape:
    """What `/metrics` answers with; when the store is silent, what this process counted."""
    gauges = Gauges(relay.outbox, relay.operations, relay.installation.clock)

    async def read(accept: str) -> tuple[bytes, str]:
        try:
            readings = await gauges.read()
        except Unavailable:
            readings = None
        return metrics.exposition(readings, accept)

    return read
