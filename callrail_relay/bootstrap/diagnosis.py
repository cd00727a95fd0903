"""
The checks of this installation.
"""

import shutil
from pathlib import Path

from callrail_relay.bootstrap.installation import Installation, find_installation
from callrail_relay.bootstrap.relay import Relay, forward_channels, open_callrail, open_relay
from callrail_relay.bootstrap.webhooks import find_signing_keys, split_keys
from callrail_relay.config.places import private_directory
from callrail_relay.config.secrets import SecretName
from callrail_relay.errors import Unavailable
from callrail_relay.service.checks import (
    Remembered,
    check_accounts,
    check_guards,
    check_public_url,
    check_replies,
    check_routes,
    check_space,
    check_store,
    check_waiting,
)
from callrail_relay.service.health import Check, HealthReport, StoreProbe, Worry, examine


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

    async def public_url() -> str:
        return check_public_url(installation.settings.server.public_url)

    return [
        *_settings_checks(installation),
        ("store", lambda: check_store(probe, relay.outbox.name)),
        ("disk", space),
        ("CallRail", Remembered(lambda: _check_callrail(installation), installation.clock)),
        ("accounts", lambda: check_accounts(relay.operations)),
        ("guards", guards),
        ("public address", public_url),
        ("replies", replies),
        ("texts", lambda: check_waiting(relay.operations)),
        ("alerts", alerts),
    ]


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
