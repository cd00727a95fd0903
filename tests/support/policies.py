"""Policies as the settings' defaults make them, so that a test names only what it changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.config.secrets import Secrets
from callrail_relay.config.settings import Settings
from callrail_relay.domain.alerts import AlertPolicy
from callrail_relay.domain.delivery import ClaimPolicy
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.inbound import InboundPolicy, PollPolicy
from callrail_relay.domain.reconcile import LookupPolicy

_HERE = Path("config.toml")
DEFAULT = AppContext(config_path=_HERE, settings=Settings(), secrets=Secrets(_HERE, {}), data=_HERE.parent)
LIMITS = DEFAULT.limits
LADDER = DEFAULT.lookups.ladder


def guard_policy(**changes: Any) -> GuardPolicy:  # noqa: ANN401 - the fields of the policy, here and below
    return replace(DEFAULT.guards, **changes)


def claim_policy(**changes: Any) -> ClaimPolicy:  # noqa: ANN401 - as the fields are
    return replace(DEFAULT.claim, **changes)


def lookup_policy(**changes: Any) -> LookupPolicy:  # noqa: ANN401 - as the fields are
    return replace(DEFAULT.lookups, **changes)


def inbound_policy(**changes: Any) -> InboundPolicy:  # noqa: ANN401 - as the fields are
    return replace(DEFAULT.inbound, **changes)


def poll_policy(**changes: Any) -> PollPolicy:  # noqa: ANN401 - as the fields are
    polling = DEFAULT.polling
    assert polling is not None
    return replace(polling, **changes)


def alert_policy(**changes: Any) -> AlertPolicy:  # noqa: ANN401 - as the fields are
    return replace(DEFAULT.alerts, **changes)
