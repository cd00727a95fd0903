"""The webhook's secret, CallRail's signing keys, and the URLs that are registered at CallRail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from callrail_relay.bootstrap.context import AppContext, listener_url, load_context
from callrail_relay.bootstrap.wiring import open_callrail, open_relay
from callrail_relay.callrail.webhooks import read_text, verify
from callrail_relay.config.secrets import Found, SecretName
from callrail_relay.config.settings import Settings
from callrail_relay.domain.events import EventHook
from callrail_relay.domain.inbound import HookUrls, Registration
from callrail_relay.errors import RelayError, SecretError, SettingsError, Unavailable
from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox.store import Store
from callrail_relay.service import tokens
from callrail_relay.service.background import Refused
from callrail_relay.service.public_address import FromInside
from callrail_relay.service.replies import EVENT, CallRailWebhooks, InboundTexts
from callrail_relay.service.tokens import HookToken, HookTokens, SigningKeys, digest, new_token


async def read_hook_tokens(context: AppContext) -> Sequence[HookToken]:
    """The tokens that open the webhook, the current one first; empty if none is set. Raises SecretError."""
    current = await context.secrets.find(SecretName.HOOK_TOKEN)
    try:
        former = await context.secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
    except SecretError:  # a keyring that does not answer must not keep the current one from working
        former = None
    known = [] if current is None else [HookToken(value=current.secret.reveal())]
    return known if former is None else [*known, *tokens.read_former(former.secret.reveal())]


async def wait_for_keyring() -> None:
    """Give the OS keyring two minutes to open: a person may have signed in a moment ago."""
    for _ in range(24):
        try:
            context = load_context(None)
            await context.secrets.find(SecretName.API_KEY)
        except SecretError:
            await context.clock.sleep(5)
        except SettingsError:  # `serve` will tell
            return
        else:
            return


async def require_hook_token(context: AppContext) -> HookToken:
    """The current token. Raises SecretError."""
    found = await context.secrets.require(SecretName.HOOK_TOKEN)
    return HookToken(value=found.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A new webhook secret, where it went in words, and until when the former one works; None if it ended."""

    token: HookToken
    place: str
    former_until: datetime | None


async def rotate_hook_token(context: AppContext, *, at_once: bool = False) -> Rotation:
    """
    Make a new token. The former one ends in a day, or *at_once* with all that came before it.

    Raises SecretError, also where the token comes from a place that only its owner can change, and
    Unavailable; then nothing has changed, or the former one still works and this can be done again.
    """
    secrets = context.secrets
    owner = secrets.shadowed_by(SecretName.HOOK_TOKEN)
    if owner is not None:
        raise SecretError(f"The webhook secret comes from the {owner}; change it there, and restart `serve`.")
    current = (await secrets.require(SecretName.HOOK_TOKEN)).secret.reveal()
    token = new_token()
    async with open_relay(context) as relay:
        store = relay.store
        now = await store.now()
        former_until = now + tokens.GRACE
        kept = await secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
        former = [
            HookToken(value=current, valid_until=former_until),
            *([] if kept is None else tokens.read_former(kept.secret.reveal())),
        ]
        # The former one first: whatever happens in between, it keeps working, or is known to be ended still.
        previous = tokens.write_former(former, now)
        await secrets.store(SecretName.HOOK_TOKEN_PREVIOUS, previous, use_file=secrets.file_in_use)
        place = await secrets.store(SecretName.HOOK_TOKEN, token, use_file=secrets.file_in_use)
        # Last, since without a new one the former must not end.
        if at_once:
            await store.write(relay_secrets.end_tokens, [digest(one.value) for one in former])
            await secrets.remove(SecretName.HOOK_TOKEN_PREVIOUS)
        else:
            await store.write(relay_secrets.end_tokens, [digest(current)], former_until)
    return Rotation(token=HookToken(value=token), place=place, former_until=None if at_once else former_until)


async def hook_tokens(context: AppContext, store: Store | None = None) -> HookTokens:
    """The tokens for the public listener; those that ended are in *store*. Raises SecretError for none."""
    read_ended = tokens.none_ended if store is None else partial(store.read, relay_secrets.read_ended_tokens)
    await context.secrets.require(SecretName.HOOK_TOKEN)

    async def read() -> Sequence[HookToken]:
        try:
            return await read_hook_tokens(context)
        except SecretError:  # the keyring may be locked by now; the tokens known so far stay good
            return ()

    return HookTokens(await read_hook_tokens(context), read, context.clock, read_ended)


def hook_url(settings: Settings, token: HookToken, base: str | None = None) -> str:
    """The URL to paste into IF3."""
    public = base or settings.server.public_url or listener_url(settings.server)
    return f"{public.rstrip('/')}/hooks/if3/{token.value}"


MOST_KEYS = 20
"""Former keys are kept while they may still sign something, but not forever."""


def split_keys(secret: str) -> list[str]:
    return [key.strip() for key in secret.split(",") if key.strip()]


async def find_signing_keys(context: AppContext) -> Found | None:
    """CallRail's signing keys; None if none is set, or if the place that may have them does not answer."""
    try:
        return await context.secrets.find(SecretName.SIGNING_KEYS)
    except SecretError:  # texts go out without them: a locked keyring must not keep the relay from starting
        return None


async def open_callrail_webhooks(
    context: AppContext, store: Store, hook: EventHook, arrived: Callable[[], None], refused: Refused
) -> CallRailWebhooks:
    async def read_keys() -> Sequence[str]:
        found = await find_signing_keys(context)
        return () if found is None else split_keys(found.secret.reveal())

    return CallRailWebhooks(
        InboundTexts(store, context.inbound, hook=hook, arrived=arrived),
        keys=SigningKeys(await read_keys(), read_keys, verify, context.clock),
        read=read_text,
        hook=hook,
        refused=refused,
    )


@dataclass(frozen=True, kw_only=True)
class Registered:
    """
    What was done at CallRail for each company, and in words where its signing keys are kept.

    *missing_keys* are companies whose key CallRail did not tell; *outranked_by* wins over the stored keys.
    """

    registrations: tuple[Registration, ...]
    key_place: str | None
    outranked_by: str | None

    @property
    def missing_keys(self) -> tuple[str, ...]:
        return tuple(one.company_id for one in self.registrations if one.signing_key is None)

    def document(self) -> dict[str, Any]:
        return {
            "companies": [
                {
                    "company_id": one.company_id,
                    "change": one.change,
                    "active": one.active,
                    "signing_key": one.signing_key is not None,
                }
                for one in self.registrations
            ],
            "signing_keys": self.key_place,
        }


async def callrail_hook_urls(context: AppContext) -> HookUrls:
    """The URLs for CallRail. Raises SettingsError without a public address, SecretError without a secret."""
    public_url = context.settings.server.public_url
    if public_url is None:
        raise SettingsError(
            "CallRail needs a public https address that leads to this relay, by a tunnel or a reverse proxy. "
            "Give it with `callrail-relay configure --public-url https://...`, then run this again."
        )
    token = await require_hook_token(context)
    base = f"{public_url}/hooks/callrail/"
    url = f"{base}{token.value}?{EVENT}="
    return HookUrls(base=base, received=f"{url}received", sent=f"{url}sent")


async def register_webhooks(context: AppContext, *, use_file: bool) -> Registered:
    """
    Register our webhooks for every company at CallRail, and keep the keys with which it signs.

    Raises SettingsError, SecretError, RefusedByCallRail, and Unavailable, also where the public URL doesn't
    lead to this relay: CallRail switches off webhooks that don't answer, and the replies would be lost.
    """
    context.require_route()
    urls = await callrail_hook_urls(context)
    await _require_answer(context)
    async with open_callrail(context) as callrail:
        registrations = [await callrail.register_webhooks(*one, urls) for one in context.companies]
    told = [one.signing_key for one in registrations if one.signing_key is not None]
    place, outranked_by = await _keep_keys(context, told, use_file=use_file)
    return Registered(registrations=tuple(registrations), key_place=place, outranked_by=outranked_by)


async def _require_answer(context: AppContext) -> None:
    async with open_relay(context) as relay:
        try:
            await relay.public_address.check()
        except SettingsError:
            raise
        except FromInside:
            return
        except RelayError as error:
            raise Unavailable(f"The webhooks weren't registered at CallRail. {error}") from error


async def _keep_keys(
    context: AppContext, told: Sequence[str], *, use_file: bool
) -> tuple[str | None, str | None]:
    """Store the keys with the former ones behind them; says where they are, and what wins over them."""
    secrets = context.secrets
    use_file = use_file or secrets.file_in_use
    found = await secrets.find_despite_keyring(SecretName.SIGNING_KEYS, use_file=use_file)
    known = [] if found is None else split_keys(found.secret.reveal())
    if found is not None and set(told) <= set(known):
        return found.source, None
    if not told:
        return None, None
    kept = list(dict.fromkeys([*told, *known]))[:MOST_KEYS]
    place = await secrets.store(SecretName.SIGNING_KEYS, ",".join(kept), use_file=use_file)
    return place, secrets.shadowed_by(SecretName.SIGNING_KEYS)
