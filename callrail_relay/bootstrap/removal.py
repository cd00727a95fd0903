"""What the relay put on this computer and at CallRail, and removing it in the right order."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from callrail_relay.bootstrap import credentials, service_setup, tunnels
from callrail_relay.bootstrap.backups import remove_store
from callrail_relay.bootstrap.context import AppContext, load_context, sentence
from callrail_relay.bootstrap.wiring import UNUSED, open_relay
from callrail_relay.config.places import log_file, remove_if_empty
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.domain.message import Status
from callrail_relay.errors import KeyringError, NotAllowed, RelayError, SecretError, Unavailable


class Step(NamedTuple):
    what: str
    remove: Callable[[], Awaitable[object]]  # raises RelayError or OSError
    uses_the_rest: bool = False  # if it can't be removed, nothing else is


async def plan_removal(
    config: Path | None, *, with_data: bool
) -> tuple[list[Step], Path | None, KeyringError | None]:
    """Return what to remove, in order; the store, None for PostgreSQL; why more secrets aren't known."""
    service = None
    with suppress(Unavailable):  # a system without services
        service = service_setup.find_installed()
    # What an earlier `uninstall` left may no longer have a settings file.
    kind = service.kind if service else None
    context = service_setup.load_for(kind, config, must_exist=kind is not None)
    store = context.store_file
    if not (service and service.running) and service_setup.find_server(context) is not None:
        raise NotAllowed(sentence("runs_no_service"))
    if with_data and (store is None or store.exists()):
        # Only the settings say which store is theirs: with a mistyped file, another one would go.
        load_context(config)
        await _require_all_sent(context, store)
    key, places, unread = await _read_secrets(context)
    steps: list[Step] = []
    if service:
        remove_service = partial(asyncio.to_thread, service_setup.uninstall, service.kind)
        steps.append(Step(f"the service, {service.path}", remove_service, uses_the_rest=True))
    if tunnel := context.settings.tunnel.tunnel():
        steps.append(Step(f"the {tunnel.kind} tunnel", lambda: tunnels.turn_off(context)))
    if webhooks := await _name_webhooks(context, key):
        steps.append(Step(webhooks, lambda: _remove_webhooks(context, key)))
    if places:
        steps.append(Step(f"the secrets: {', '.join(places)}", lambda: _remove_secrets(context)))
    if context.config_path.exists():
        steps.append(Step(f"the settings, {context.config_path}", lambda: _remove_settings(context)))
    if with_data and store is not None and store.exists():
        steps.append(Step(f"the texts and opt-outs, {store}", lambda: _remove_data(context, store)))
    return steps, store, unread


async def _read_secrets(context: AppContext) -> tuple[str | None, list[str], KeyringError | None]:
    """Return the API key, which removing webhooks needs, what is stored where, and why more isn't known."""
    key, places, unread = None, [], None
    with suppress(SecretError):
        key = await context.secrets.find(SecretName.API_KEY)
    stored = Secrets(context.config_path, environ={})  # also what the environment overrides
    for name in SecretName:
        try:
            found = await stored.find(name)
        except KeyringError as error:
            unread = error
            continue
        except SecretError:  # a damaged one can be removed; for one that can't be read, removing it says why
            if not context.secrets.file_in_use:
                places.append(name.words)
            continue
        if found:
            places.append(f"{name.words} ({found.source})")
    if context.secrets.file_in_use and not places:
        places.append(str(context.secrets.file))
    return key.reveal() if key else None, places, unread


async def _name_webhooks(context: AppContext, key: str | None) -> str | None:
    """Return the relay's webhooks at CallRail in words, None if there are none."""
    if not (context.routes.account_ids and context.settings.server.public_url):
        return None
    try:
        return sentence("webhooks") if await credentials.find_webhooks(context, key) else None
    except RelayError:  # removing them says why
        return sentence("webhooks_unseen")


async def _remove_webhooks(context: AppContext, key: str | None) -> None:
    if context.store_file is None:
        async with open_relay(context) as relay:
            if (await relay.store.running()).nodes:
                raise NotAllowed(sentence("needed_elsewhere"))
    try:
        await credentials.remove_webhooks(context, key)
    except RelayError as error:
        raise Unavailable(sentence("remove_webhooks", error=error)) from error


async def _remove_secrets(context: AppContext) -> None:
    for name in SecretName:
        await context.secrets.remove(name)
    context.secrets.file.unlink(missing_ok=True)


async def _remove_settings(context: AppContext) -> None:
    context.config_path.unlink(missing_ok=True)
    remove_if_empty(context.config_path.parent)


async def _require_all_sent(context: AppContext, store: Path | None) -> None:
    if store is None:
        raise NotAllowed(sentence("database_stays"))
    async with open_relay(context) as relay:
        report = await relay.operations.status()
    unsent = (Status.QUEUED, Status.SENDING, Status.UNKNOWN)
    waiting = {status.value: report.counts[status] for status in unsent}
    waiting["waiting for the old URL"] = report.facts.shadow.waiting
    if any(waiting.values()):
        found = ", ".join(f"{count} {what}" for what, count in waiting.items() if count)
        raise NotAllowed(sentence("unsent", found=found))


async def _remove_data(context: AppContext, store: Path) -> None:
    await _require_all_sent(context, store)  # texts may have come in until the service was stopped
    remove_store(store)
    ours = (credentials.KEY_FILE, credentials.FILE, UNUSED)
    beside = (path for name in ("node-*.*", f"{store.name}-serve.*") for path in store.parent.glob(name))
    for path in (*beside, *(context.data / name for name in ours), log_file()):
        path.unlink(missing_ok=True)
    for folder in (log_file().parent, store.parent, context.data):
        remove_if_empty(folder)
