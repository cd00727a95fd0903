"""The checks that `doctor` and the dashboard run."""

import shutil
from datetime import timedelta
from pathlib import Path

from callrail_relay.bootstrap import wiring
from callrail_relay.bootstrap.context import AppContext, load_context
from callrail_relay.bootstrap.credentials import find_signing_keys
from callrail_relay.config.loading import ignored_variables
from callrail_relay.config.places import private_directory
from callrail_relay.config.secrets import Found, SecretName
from callrail_relay.domain.guards import Mode
from callrail_relay.errors import RelayError, SecretError, SettingsError
from callrail_relay.machine.files import DOUBTFUL, HAS_MODES, files_in, links, network_drive, open_to_others
from callrail_relay.network import find_network
from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox import replies as store_replies
from callrail_relay.sentences import plural
from callrail_relay.service import health
from callrail_relay.service.health import Check, CheckWarning, HealthReport, says
from callrail_relay.service.tokens import digest

MOST_NAMED = 5  # how many files a sentence names at most


async def diagnose(config: Path | None) -> HealthReport:
    """Return the findings of every check; without readable settings there's only one."""
    try:
        context = load_context(config)
    except RelayError as fault:
        return await health.run_checks([("settings", _failing(fault))])
    try:
        async with wiring.open_relay(context) as relay:
            return await health.run_checks(checks(relay))
    except RelayError as fault:
        return await health.run_checks([*_settings_checks(context), ("store", _failing(fault))])


def _failing(fault: RelayError) -> Check:
    async def check() -> str:
        raise fault

    return check


def checks(relay: wiring.Relay) -> list[tuple[str, Check]]:
    """Return everything that must be true, in the order in which it's best fixed."""
    context = relay.context

    async def space() -> str:
        free = shutil.disk_usage(private_directory(context.data)).free
        return health.check_space(free, str(context.data))

    async def alerts() -> str:
        context = relay.context  # may have been changed
        weekly, channels = context.settings.alerts.weekly_summary, wiring.channels(context, "alerts.urls")
        if channels is None:
            raise CheckWarning(says("no_alerts"))
        summary = "" if weekly == "off" else says("weekly", day=weekly.title())
        count = plural(len(channels.names), "alert channel")
        raise CheckWarning(says("alerts", channels=count, summary=summary))

    async def replies() -> str:
        channels, polling = wiring.channels(context, "replies.forward_to"), context.polling
        keys, source = await find_signing_keys(context)
        last = None if polling is None else await relay.store.read(store_replies.last_poll, polling)
        ago = None if last is None else await relay.store.now() - last
        every, forwarded = context.settings.replies.poll_every, channels.names if channels else ()
        return health.check_replies(len(keys), source, every, ago, len(forwarded))

    return [
        *_settings_checks(context, relay),
        ("store", lambda: health.check_store(relay.store)),
        ("place", lambda: _check_place(context)),
        ("disk", space),
        ("files", lambda: _check_files(relay)),
        ("CallRail", health.Remembered(lambda: _check_callrail(context), context.clock)),
        ("accounts", lambda: health.check_accounts(relay.operations)),
        (health.RELAY, lambda: health.check_relay(relay.facts)),
        ("guards", lambda: _check_guards(relay.context)),
        (health.PUBLIC_ADDRESS, relay.public_address.recent),
        ("replies", replies),
        ("texts", lambda: health.check_waiting(relay.operations)),
        ("alerts", alerts),
    ]


def _settings_checks(context: AppContext, relay: wiring.Relay | None = None) -> list[tuple[str, Check]]:
    async def settings() -> str:
        path = context.config_path
        if not path.exists():
            raise CheckWarning(says("no_settings", path=path))
        load_context(path)  # as they are now: the next start will read them
        if ignored := ignored_variables():
            raise CheckWarning(ignored)
        return says("settings", path=path)

    async def terms() -> str:
        context.require_terms()
        return says("terms")

    async def route() -> str:
        context.require_route()
        return says("routes", numbers=plural(len(set(context.routes)), "number"))

    async def api_key() -> str:
        return says("secret", place=(await context.secrets.require(SecretName.API_KEY)).source)

    async def hook_token() -> str:
        found = await context.secrets.require(SecretName.HOOK_TOKEN)
        if relay is not None:
            await _check_token_end(relay, found)
        return says("secret", place=found.source)

    async def network() -> str:
        return find_network(context.settings.callrail.api_url).words

    return [
        ("settings", settings),
        ("terms", terms),
        ("routes", route),
        ("API key", api_key),
        ("webhook secret", hook_token),
        ("network", network),
    ]


async def _check_token_end(relay: wiring.Relay, found: Found) -> None:
    """Check that this computer's webhook secret wasn't replaced on another one that shares its store."""
    ends_at = await relay.store.read(relay_secrets.token_ends_at, digest(found.reveal()))
    if ends_at is not None and ends_at <= await relay.store.now():
        raise SecretError(says("secret_ended", place=found.source))
    if ends_at is not None:
        raise CheckWarning(says("secret_ends", at=ends_at, place=found.source))


async def _check_place(context: AppContext) -> str:
    if synced := wiring.synced_store(context):
        raise CheckWarning(synced)
    file = context.store_file
    if file is None:
        return says("database_server")
    if kind := network_drive(file):
        raise CheckWarning(says("network_drive", kind=kind))
    if network_drive(file, DOUBTFUL):
        raise CheckWarning(says("fuse"))
    return says("own_disk")


async def _check_files(relay: wiring.Relay) -> str:
    context = relay.context
    store = relay.store.files
    if linked := links(store):
        raise CheckWarning(says("link", path=linked[0]))
    data = private_directory(context.data)
    if wide := open_to_others((context.config_path, context.secrets.file, data, *files_in(data), *store)):
        more = f" and {len(wide) - MOST_NAMED} more" if len(wide) > MOST_NAMED else ""
        raise CheckWarning(says("readable", paths=f"{', '.join(wide[:MOST_NAMED])}{more}"))
    return says("private") if HAS_MODES else says("no_link")


async def _check_guards(context: AppContext) -> str:
    for name in ("opt_out", "mass_text"):
        if (mode := getattr(context.guards, name)) is not Mode.HOLD:
            raise CheckWarning(says("guard_off", name=name, mode=mode))
    return says("guards")


async def _check_callrail(context: AppContext) -> str:
    try:
        context.require_route()
        await context.secrets.require(SecretName.API_KEY)
        find_network(context.settings.callrail.api_url)
    except (SettingsError, SecretError) as fault:
        raise CheckWarning(says("not_tried")) from fault
    async with wiring.open_callrail(context) as callrail:
        words = await health.check_routes(callrail, list(context.routes))
        since, ahead = context.clock.now(), timedelta()
        for company in context.companies:
            seen = await callrail.find_replies(*company, since=since)
            if seen.fault is not None:
                raise CheckWarning(says("unreadable", words=words, why=seen.fault))
            ahead = seen.ahead
    return health.check_clock(words, ahead)
