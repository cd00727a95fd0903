"""Alerts of one run."""

import asyncio
import contextlib
import platform
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from callrail_relay.bootstrap.context import Installation
from callrail_relay.bootstrap.wiring import Relay
from callrail_relay.domain.alerts import AlertPolicy
from callrail_relay.domain.events import EventHook
from callrail_relay.errors import SettingsFault
from callrail_relay.service.alerts import Alerts
from callrail_relay.service.checks import LITTLE_SPACE
from callrail_relay.telemetry.alerts import AppriseChannels

SETTING = "alerts.urls"


def alert_channels(installation: Installation) -> AppriseChannels:
    """The channels of the settings. Raises SettingsFault, also where there are none."""
    urls = installation.settings.alerts.urls
    if not urls:
        raise SettingsFault(
            f"{SETTING} names nobody to tell; set it under [alerts] in {installation.config_path}, such as "
            '["mailto://…"] or ["slack://…"].'
        )
    return AppriseChannels.open(urls, setting=SETTING)


@asynccontextmanager
async def alerting(relay: Relay, hook: EventHook) -> AsyncIterator[None]:
    """
    Alerts beside whatever the block does, where the settings name somebody to tell. Raises SettingsFault.
    """
    if not relay.installation.settings.alerts.urls:
        yield
        return
    alerts = _alerts(relay, alert_channels(relay.installation), hook)
    running = asyncio.create_task(alerts.run())
    try:
        yield
    finally:
        alerts.stop()
        await running


def _alerts(relay: Relay, channels: AppriseChannels, hook: EventHook) -> Alerts:
    installation = relay.installation
    settings = installation.settings.alerts

    def free_bytes() -> int | None:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(installation.data).free
        return None

    return Alerts(
        relay.outbox,
        relay.operations,
        channels,
        AlertPolicy(
            budget=settings.budget,
            waiting=settings.waiting,
            failures=settings.failures,
            little_space=LITTLE_SPACE,
        ),
        clock=relay.outbox.clock,
        machine=platform.node(),
        free_bytes=free_bytes,
        hook=hook,
    )
