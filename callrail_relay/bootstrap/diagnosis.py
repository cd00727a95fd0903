"""
The checks of this installation.
"""

import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from callrail_relay.bootstrap.installation import Installation, find_installation
from callrail_relay.bootstrap.relay import Relay, forward_channels, open_callrail, open_relay
from callrail_relay.bootstrap.webhooks import find_signing_keys, split_keys
from callrail_relay.config.places import private_directory
from callrail_relay.config.secrets import SecretName
from callrail_relay.domain.health import PublicUrl
from callrail_relay.errors import Unavailable
from callrail_relay.service.checks import (
    check_accounts,
    check_guards,
    check_public_url,
    check_relay,
    check_replies,
    check_routes,
    check_space,
    check_store,
    check_waiting,
    remembered,
)
from callrail_relay.service.health import (
    PUBLIC_ADDRESS,
    RELAY,
    Check,
    HealthReport,
    StoreProbe,
    Worry,
    checked_url,
    examine,
)

LOOK_AGE = timedelta(minutes=1)
"""How old the last check of the public URL may be for somebody who watches."""


async def diagnose(config: Path | None) -> HealthReport:
    """
    The findings of every check; without readable settings there is but one.
    """

    async def read_settings() -> str:
        path = find_installation(config).config_path
        if not path.exists():
            raise Worry(f"There is no settings file {path} yet; `callrail-relay configure` makes it.")
        return f"{path} is read."

    report = await examine([("settings", read_settings)])
    if report.exit_code:
        return report
    installation = find_installation(config)
    try:
        async with open_relay(installation) as relay:
            return HealthReport(findings=report.findings + (await examine(checks(relay))).findings)
    except Unavailable as error:
        without_store = [*_settings_checks(installation), ("store", _raising(error))]
        return HealthReport(findings=report.findings + (await examine(without_store)).findings)


def _raising(error: Unavailable) -> Check:
    async def check() -> str:
        raise error

    return check


def checks(relay: Relay) -> list[tuple[str, Check]]:
    """
    Everything that must hold, in the order in which it is best put right.
    """
    installation = relay.installation
    probe = StoreProbe(relay.outbox, installation.clock)

    async def space() -> str:
        free = shutil.disk_usage(private_directory(installation.data)).free
        return check_space(free, str(installation.data))

    async def guards() -> str:
        return check_guards(
            opt_out=installation.settings.guards.opt_out, mass_text=installation.settings.guards.mass_text
        )

    async def alerts() -> str:
        if not installation.settings.alerts.urls:
            return "Nobody is told when something is wrong; alerts.urls can name who is."
        # Apprise is an extra, and slow to import.
        from callrail_relay.bootstrap.alerts import alert_channels  # noqa: PLC0415

        return (
            f"{len(alert_channels(installation).names)} channel(s); `callrail-relay alerts test` tries them."
        )

    async def replies() -> str:
        channels = forward_channels(installation)
        found = await find_signing_keys(installation)
        return check_replies(
            signing_keys=0 if found is None else len(split_keys(found.secret.reveal())),
            rung=None if found is None else found.rung,
            polled=installation.settings.replies.poll_every,
            forwarded=0 if channels is None else len(channels.names),
        )

    return [
        *_settings_checks(installation),
        ("store", lambda: check_store(probe, relay.outbox.name)),
        ("disk", space),
        ("CallRail", remembered(lambda: _check_callrail(installation), installation.clock)),
        ("accounts", lambda: check_accounts(relay.operations)),
        (RELAY, lambda: check_relay(relay.outbox)),
        ("guards", guards),
        (PUBLIC_ADDRESS, _public_url_check(installation)),
        ("replies", replies),
        ("texts", lambda: check_waiting(relay.operations)),
        ("alerts", alerts),
    ]


def _public_url_check(installation: Installation) -> Check:
    async def check() -> str:
        return check_public_url(installation.settings.server.public_url)

    return check


def public_url_look(installation: Installation) -> Callable[[], Awaitable[PublicUrl | None]]:
    """
    What checks the public URL, if one is set, and remembers the result for LOOK_AGE.
    """
    url, check = installation.settings.server.public_url, _public_url_check(installation)
    known: tuple[float, HealthReport] | None = None

    async def look() -> PublicUrl | None:
        nonlocal known
        now = installation.clock.monotonic()
        if url is not None and (known is None or now - known[0] >= LOOK_AGE.total_seconds()):
            known = now, await examine([(PUBLIC_ADDRESS, check)])
        return checked_url(url, None if known is None else known[1])

    return look


def _settings_checks(installation: Installation) -> list[tuple[str, Check]]:
    async def terms() -> str:
        installation.require_terms()
        return "CallRail's rule for person-to-person texts is accepted."

    async def route() -> str:
        installation.require_route()
        return f"Texts leave from {len(set(installation.settings.routes_table()))} number(s)."

    async def api_key() -> str:
        return f"From the {(await installation.secrets.require(SecretName.API_KEY)).rung}."

    async def hook_token() -> str:
        return f"From the {(await installation.secrets.require(SecretName.HOOK_TOKEN)).rung}."

    return [
        ("terms", terms),
        ("routes", route),
        ("API key", api_key),
        ("webhook secret", hook_token),
    ]


async def _check_callrail(installation: Installation) -> str:
    installation.require_route()
    key = await installation.secrets.require(SecretName.API_KEY)
    async with open_callrail(installation, key.secret.reveal()) as callrail:
        return await check_routes(callrail, list(installation.settings.routes_table()))
