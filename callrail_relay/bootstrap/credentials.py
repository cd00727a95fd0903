"""The API key, the webhook secret, CallRail's signing keys, and the way into the dashboard."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx2

from callrail_relay.bootstrap.context import AppContext, listener_url, load_context, sentence
from callrail_relay.bootstrap.wiring import Relay, open_callrail, open_relay
from callrail_relay.callrail.wire import read_webhook, verify
from callrail_relay.config.loading import read_text
from callrail_relay.config.places import private_directory
from callrail_relay.config.saving import Changes, overruled, save
from callrail_relay.config.secrets import Found as Found  # noqa: PLC0414 - for the commands, too
from callrail_relay.config.secrets import OsKeyring, SecretName
from callrail_relay.config.settings import Settings
from callrail_relay.domain.inbound import Change, WebhookIntegration
from callrail_relay.errors import SecretError, SettingsError, Unavailable
from callrail_relay.machine.notes import read_note, write_note
from callrail_relay.network import find_network
from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox.store import Store
from callrail_relay.service import tokens
from callrail_relay.service.background import Refused
from callrail_relay.service.public_address import FromInside
from callrail_relay.service.replies import EVENT, CallRailWebhooks, InboundTexts
from callrail_relay.service.tokens import HookToken, HookTokens, digest, new_token, reread


async def read_hook_tokens(context: AppContext) -> Sequence[HookToken]:
    """Return the tokens that open the webhook, the current one first, if any. Raises SecretError."""
    found = [HookToken(value=one) for one in await _stored_tokens(context)]
    with contextlib.suppress(SecretError):  # a keyring that doesn't answer must not keep these from working
        found += await _former_tokens(context)
    return found


async def _stored_tokens(context: AppContext) -> list[str]:
    """Return the current token, and one written to the file while the keyring was locked; IF3 has either."""
    current, in_file = await context.secrets.find(SecretName.HOOK_TOKEN), None
    if current is not None and not current.outside:
        with contextlib.suppress(SecretError):  # a damaged file must not keep the keyring's from working
            in_file = context.secrets.in_file(SecretName.HOOK_TOKEN)
    return list(dict.fromkeys(one.reveal() for one in (current, in_file) if one is not None))


async def wait_for_keyring() -> None:
    """Give the OS keyring two minutes to open: a person may have just signed in."""
    with contextlib.suppress(SettingsError):  # `serve` will report it
        for _ in range(24):
            context = load_context(None)  # a new one: a keyring that once hung isn't asked again
            with contextlib.suppress(SecretError):
                await context.secrets.find(SecretName.API_KEY)
                return
            await context.clock.sleep(5)


async def _former_tokens(context: AppContext) -> list[HookToken]:
    kept = await context.secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
    return [] if kept is None else tokens.read_former(kept.reveal())


async def require_hook_token(context: AppContext) -> str:
    """Return the current token. Raises SecretError."""
    return (await context.secrets.require(SecretName.HOOK_TOKEN)).reveal()


class Rotation(NamedTuple):
    token: str
    place: str
    former_until: datetime | None  # None if the former one ended at once


async def rotate_hook_token(context: AppContext, *, at_once: bool = False) -> Rotation:
    """Make a new token; the former one ends in a day, or *at_once*. After an error, this can be repeated."""
    secrets = context.secrets
    if (owner := secrets.shadowed_by(SecretName.HOOK_TOKEN)) is not None:
        raise SecretError(sentence("secret_elsewhere", owner=owner))
    await require_hook_token(context)
    current, token = await _stored_tokens(context), new_token()
    async with open_relay(context) as relay:
        store = relay.store
        now = await store.now()
        until = now + tokens.GRACE
        ending = [HookToken(value=one, valid_until=until) for one in current]
        former = [*ending, *await _former_tokens(context)]
        # The former one first: whatever happens in between, it works, or is known to have ended.
        await secrets.store(SecretName.HOOK_TOKEN_PREVIOUS, tokens.write_former(former, now))
        place = await secrets.store(SecretName.HOOK_TOKEN, token)
        # Last, because without a new one the former must not end.
        if at_once:
            await store.write(relay_secrets.end_tokens, [digest(one.value) for one in former])
            await secrets.remove(SecretName.HOOK_TOKEN_PREVIOUS)
        else:
            await store.write(relay_secrets.end_tokens, [digest(one) for one in current], until)
    return Rotation(token, place, None if at_once else until)


async def hook_tokens(context: AppContext, store: Store) -> HookTokens:
    """Return the public listener's tokens; ended ones are in *store*. Raises SecretError without any."""
    await require_hook_token(context)
    read = partial(read_hook_tokens, context)
    read_ended = partial(store.read, relay_secrets.read_ended_tokens)
    return HookTokens(await read(), read, context.clock, read_ended)


def hook_url(settings: Settings, token: str, base: str | None = None) -> str:
    return _address(base or settings.server.public_url or listener_url(settings.server), "if3", token)


def _address(base: str, hook: str, token: str) -> str:
    return f"{base.rstrip('/')}/hooks/{hook}/{quote(token, safe='')}"


MOST_KEYS = 20  # former keys are kept while they may still sign something, but not forever


async def find_signing_keys(context: AppContext) -> tuple[list[str], str | None]:
    """Return CallRail's signing keys, and in words where they are."""
    found = None
    # Texts are sent without them: `serve` starts with a locked keyring.
    with contextlib.suppress(SecretError):
        found = await context.secrets.find(SecretName.SIGNING_KEYS)
    return ([], None) if found is None else (_split(found.reveal()), found.source)


def _split(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]


async def open_callrail_webhooks(
    relay: Relay, arrived: Callable[[], None], refused: Refused
) -> CallRailWebhooks:
    context = relay.context

    async def read() -> Sequence[str]:
        return (await find_signing_keys(context))[0]

    texts = InboundTexts(relay.store, relay.hook, context.inbound, arrived)
    keys = reread(await read(), read, context.clock)
    return CallRailWebhooks(texts, keys, verify, read_webhook, refused)


class Registration(NamedTuple):
    company_id: str
    change: Change
    webhooks: WebhookIntegration


async def register_webhooks(
    context: AppContext, *, use_file: bool
) -> tuple[list[Registration], str | None, str | None]:
    """Register our webhooks at CallRail; return what was done, where its keys are, and what outranks them."""
    context.require_route()
    public_url = context.settings.server.public_url
    if public_url is None:
        raise SettingsError(sentence("no_public_url"))
    url = f"{_address(public_url, 'callrail', await require_hook_token(context))}?{EVENT}="
    urls = {event: f"{url}{event}" for event in ("received", "sent")}
    await _require_answer(context)
    is_ours, registrations = await _our_urls(context), []
    async with open_callrail(context) as callrail:
        for one in context.companies:
            change = await callrail.change_webhooks(*one, is_ours, urls)
            registrations.append(Registration(one[1], change, await callrail.webhooks(*one)))
    told = [key for one in registrations if (key := one.webhooks.signing_key) is not None]
    secrets, name = context.secrets, SecretName.SIGNING_KEYS
    found = await secrets.find(name, use_file=use_file)
    known = [] if found is None else _split(found.reveal())
    if set(told) <= set(known):
        return registrations, found.source if found else None, None
    # The former ones stay, after the new ones.
    kept = list(dict.fromkeys([*told, *known]))[:MOST_KEYS]
    place = await secrets.store(name, ",".join(kept), use_file=use_file)
    return registrations, place, secrets.shadowed_by(name)


async def remove_webhooks(context: AppContext, api_key: str | None = None) -> list[str]:
    """Remove our URLs at CallRail, and its signing keys; return the companies that had any."""
    found = await find_webhooks(context, api_key, remove=True)
    await context.secrets.remove(SecretName.SIGNING_KEYS)
    return found


async def find_webhooks(context: AppContext, api_key: str | None, *, remove: bool = False) -> list[str]:
    """Return the companies that have our URLs at CallRail; with *remove*, take them out."""
    context.require_route()
    is_ours = await _our_urls(context)
    async with open_callrail(context, api_key) as callrail:
        change = partial(callrail.change_webhooks, is_ours=is_ours, urls={}, dry_run=not remove)
        return [one[1] for one in context.companies if await change(*one) is not Change.UNCHANGED]


async def _our_urls(context: AppContext) -> Callable[[str], bool]:
    """Return a function that says whether a URL at CallRail is ours: by its beginning, or by our secret."""
    paths = [_address("", "callrail", one.value) for one in await read_hook_tokens(context)]
    public_url = context.settings.server.public_url

    def is_ours(url: str) -> bool:
        by_address = public_url is not None and url.startswith(_address(public_url, "callrail", ""))
        return by_address or any(path in url for path in paths)

    return is_ours


async def _require_answer(context: AppContext) -> None:
    """Raise an error if nothing answers: CallRail would switch the webhooks off, and replies be lost."""
    async with open_relay(context) as relay:
        result = await relay.public_address.check()
    if isinstance(result, SettingsError):
        raise result
    if not isinstance(result, str | FromInside):
        raise Unavailable(sentence("not_registered", error=result)) from result


async def known_api_key(context: AppContext, *, use_file: bool) -> Found | None:
    """Return the API key, if there is one. Raises SecretError, also if no place could keep a secret."""
    secrets, names = context.secrets, (SecretName.API_KEY, SecretName.HOOK_TOKEN)
    found = await secrets.find(SecretName.API_KEY, use_file=use_file)
    has_place = use_file or secrets.file_in_use or all(secrets.shadowed_by(name) for name in names)
    if not has_place and await OsKeyring(timeout=3.0).words() is None:
        raise SecretError(
            sentence("no_keyring", variables=" and ".join(name.variable or "" for name in names))
        )
    return found


@dataclass(frozen=True, kw_only=True)
class SavedSetup:
    token: str
    key_place: str
    token_place: str
    overruled: Sequence[str]
    outranks_key: str | None
    is_new_url: bool  # of a setup that had one, perhaps in a keyring that is locked now
    is_changed: bool  # a running relay still uses other settings, or another key


async def save_setup(
    context: AppContext, changes: Changes, *, new_key: str | None, use_file: bool
) -> SavedSetup:
    """Write *changes* and store the secrets, in the file if *use_file*; if that fails, nothing changes."""
    path, secrets = context.config_path, context.secrets
    key = None if new_key is not None else await secrets.require(SecretName.API_KEY)
    token = await secrets.find(SecretName.HOOK_TOKEN, use_file=use_file)
    # The key last: if it replaces another, it isn't undone, so nothing may fail after it.
    found = {SecretName.HOOK_TOKEN: token, SecretName.API_KEY: key}
    values = {SecretName.HOOK_TOKEN: new_token(), SecretName.API_KEY: new_key or ""}
    values |= {name: one.reveal() for name, one in found.items() if one is not None}
    kept = {
        name: values[name] for name, one in found.items() if one is None or (use_file and not one.outside)
    }
    places = {name: one.source for name, one in found.items() if one is not None}
    former = read_text(path)
    places |= await save(path, secrets, changes, kept, use_file=use_file)
    return SavedSetup(
        token=values[SecretName.HOOK_TOKEN],
        key_place=places[SecretName.API_KEY],
        token_place=places[SecretName.HOOK_TOKEN],
        overruled=overruled(path, changes),
        is_new_url=token is None and former is not None,
        outranks_key=secrets.shadowed_by(SecretName.API_KEY) if SecretName.API_KEY in kept else None,
        is_changed=new_key is not None or read_text(path) != former,
    )


FILE = "dashboard.json"
KEY_FILE = "dashboard.key"
TIMEOUT = 5.0


def session_key(context: AppContext) -> str:
    """Return the key of this relay's sessions, from a private file; a new one if it takes any free port."""
    if not context.settings.dashboard.port:
        return new_token()
    path = private_directory(context.data) / KEY_FILE
    key: str | None = read_note(path)
    if key is None:
        write_note(path, key := new_token())
    return key


@contextmanager
def open_desk(data: Path, url: str, secret: str) -> Iterator[None]:
    """Let this user's programs ask for links until the block ends, through a file of mode 0600 in *data*."""
    path, desk = private_directory(data) / FILE, {"url": url, "secret": secret}
    write_note(path, desk)
    try:
        yield
    finally:
        if read_note(path) == desk:  # another relay in the same directory may have put its own there
            write_note(path, None)


async def ask_for_link(context: AppContext, *, only: bool = False) -> str:
    """Return a one-time link of the relay that runs here, the *only* one if asked. Raises Unavailable."""
    data = context.data
    try:
        desk = json.loads((data / FILE).read_text(encoding="utf-8"))
        headers = {"Authorization": f"Bearer {desk['secret']}"}
        # It listens on this computer with plain http: no proxy is involved, and no certificates are needed.
        transport = find_network("http://127.0.0.1").transport(httpx2.Limits())
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, transport=transport) as client:
            answer = await client.post(f"{desk['url']}/login/links{'?only' if only else ''}", headers=headers)
        link: str = answer.raise_for_status().json()["url"]
    except PermissionError as error:
        raise Unavailable(sentence("file_of_another", data=data)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(sentence("no_dashboard", data=data)) from error
    return link
