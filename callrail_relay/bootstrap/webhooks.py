"""CallRail's own webhooks: their keys, and who listens to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from callrail_relay.bootstrap import credentials
from callrail_relay.bootstrap.context import Installation
from callrail_relay.bootstrap.wiring import open_callrail, open_relay
from callrail_relay.callrail.signature import verify
from callrail_relay.callrail.webhooks import read_text
from callrail_relay.config.secrets import Found, SecretName
from callrail_relay.domain.events import EventHook
from callrail_relay.domain.webhooks import HookUrls, Registration
from callrail_relay.errors import RelayError, SecretFault, SettingsFault, Unavailable
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.public_address import FromInside
from callrail_relay.service.refusals import Refused, uncounted
from callrail_relay.service.replies import EVENT, Witness
from callrail_relay.service.signing_keys import SigningKeys

MOST_KEYS = 20
"""Former keys are kept while they may still sign something, but not for ever."""


def split_keys(secret: str) -> list[str]:
    """The keys in a secret that may hold several, with commas between them."""
    return [key.strip() for key in secret.split(",") if key.strip()]


async def find_signing_keys(installation: Installation) -> Found | None:
    """
    CallRail's signing keys; None where none is set, or where the place that may have them does not answer.
    """
    try:
        return await installation.secrets.find(SecretName.SIGNING_KEYS)
    except SecretFault:
        # Texts go out without them: a keyring that is locked must not keep the relay from starting.
        return None


async def read_signing_keys(installation: Installation) -> Sequence[str]:
    """The keys one by one; none where there is none."""
    found = await find_signing_keys(installation)
    return () if found is None else split_keys(found.secret.reveal())


async def signing_keys(installation: Installation) -> SigningKeys:
    """The keys for the public listener."""

    async def read() -> Sequence[str]:
        return await read_signing_keys(installation)

    return SigningKeys(await read(), read, verify, installation.clock)


async def open_witness(
    installation: Installation,
    outbox: Outbox,
    hook: EventHook,
    heard: Callable[[], None],
    refused: Refused = uncounted,
) -> Witness:
    """Who takes what CallRail's webhooks tell."""
    return Witness(
        outbox,
        installation.witness,
        keys=await signing_keys(installation),
        read=read_text,
        hook=hook,
        heard=heard,
        refused=refused,
    )


@dataclass(frozen=True, kw_only=True)
class Registered:
    """
    What was done at CallRail for each company, and in words where its signing keys are kept.

    *missing_keys* are companies whose key CallRail did not tell; *outranked_by* is what wins over the keys
    that were stored, in words.
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


async def callrail_hook_urls(installation: Installation) -> HookUrls:
    """The URLs for CallRail. Raises SettingsFault without a public address, SecretFault without a secret."""
    public_url = installation.settings.server.public_url
    if public_url is None:
        raise SettingsFault(
            "CallRail needs a public https address that leads to this relay, by a tunnel or a reverse proxy. "
            "Give it with `callrail-relay configure --public-url https://...`, then run this again."
        )
    token = await credentials.require_hook_token(installation)
    base = f"{public_url}/hooks/callrail/"
    url = f"{base}{token.value}?{EVENT}="
    return HookUrls(base=base, received=f"{url}received", sent=f"{url}sent")


async def register_webhooks(installation: Installation, *, use_file: bool) -> Registered:
    """
    Have CallRail tell of every company's texts, and keep the keys with which it signs.

    Raises SettingsFault, SecretFault, RefusedByCallRail, and Unavailable, also where the public URL doesn't
    lead to this relay: CallRail switches off webhooks that don't answer, and the replies would be lost.
    """
    installation.require_route()
    urls = await callrail_hook_urls(installation)
    await _require_answer(installation)
    key = await installation.secrets.require(SecretName.API_KEY)
    companies = dict.fromkeys(
        (route.account_id, route.company_id) for route in installation.settings.routes_table()
    )
    async with open_callrail(installation, key.secret.reveal()) as callrail:
        registrations = [
            await callrail.register_webhooks(account_id, company_id, urls)
            for account_id, company_id in companies
        ]
    told = [one.signing_key for one in registrations if one.signing_key is not None]
    place, outranked_by = await _keep_keys(installation, told, use_file=use_file)
    return Registered(registrations=tuple(registrations), key_place=place, outranked_by=outranked_by)


async def _require_answer(installation: Installation) -> None:
    async with open_relay(installation) as relay:
        try:
            await relay.public_address.check()
        except SettingsFault:
            raise
        except FromInside:
            return
        except RelayError as error:
            raise Unavailable(f"The webhooks weren't registered at CallRail. {error}") from error


async def _keep_keys(
    installation: Installation, told: Sequence[str], *, use_file: bool
) -> tuple[str | None, str | None]:
    """Store the keys with the former ones behind them; says where they are, and what wins over them."""
    secrets = installation.secrets
    use_file = use_file or secrets.file_in_use
    found = await secrets.find_despite_keyring(SecretName.SIGNING_KEYS, use_file=use_file)
    known = [] if found is None else split_keys(found.secret.reveal())
    if found is not None and set(told) <= set(known):
        return found.rung, None
    if not told:
        return None, None
    kept = list(dict.fromkeys([*told, *known]))[:MOST_KEYS]
    place = await secrets.store(SecretName.SIGNING_KEYS, ",".join(kept), use_file=use_file)
    return place, secrets.shadowed_by(SecretName.SIGNING_KEYS)
