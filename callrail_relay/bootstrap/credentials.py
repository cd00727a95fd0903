"""The secret in the webhook's path: where it is kept, how it changes, the URL it makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from callrail_relay.bootstrap.context import Installation, listener_url
from callrail_relay.bootstrap.wiring import open_relay
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.settings import Settings
from callrail_relay.errors import SecretFault
from callrail_relay.service.tokens import (
    GRACE,
    HookToken,
    HookTokens,
    ReadEnded,
    digest,
    new_token,
    none_ended,
    read_former,
    write_former,
)


async def read_hook_tokens(installation: Installation) -> Sequence[HookToken]:
    """The tokens that open the webhook, the current one first; none where none is set. Raises SecretFault."""
    current = await installation.secrets.find(SecretName.HOOK_TOKEN)
    try:
        former = await installation.secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
    except SecretFault:
        # Only a keyring can hold it; one that does not answer must not keep the current one from working.
        former = None
    tokens = [] if current is None else [HookToken(value=current.secret.reveal())]
    return tokens if former is None else [*tokens, *read_former(former.secret.reveal())]


async def require_hook_token(installation: Installation) -> HookToken:
    """The current token. Raises SecretFault."""
    found = await installation.secrets.require(SecretName.HOOK_TOKEN)
    return HookToken(value=found.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """
    A new webhook secret, where it went in words, and until when the former one works; None where it ended.
    """

    token: HookToken
    place: str
    former_until: datetime | None


async def rotate_hook_token(installation: Installation, *, at_once: bool = False) -> Rotation:
    """
    Make a new token. The former one ends in a day, or *at_once* with all that came before it.

    Raises SecretFault, also where the token comes from a place that only its owner can change, and
    Unavailable; then nothing has changed, or the former one still works and this can be done again.
    """
    secrets = installation.secrets
    owner = secrets.shadowed_by(SecretName.HOOK_TOKEN)
    if owner is not None:
        raise SecretFault(f"The webhook secret comes from the {owner}; change it there, and restart `serve`.")
    current = (await secrets.require(SecretName.HOOK_TOKEN)).secret.reveal()
    token = new_token()
    async with open_relay(installation) as relay:
        outbox = relay.outbox
        now = await outbox.now()
        former_until = now + GRACE
        kept = await secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
        former = [
            HookToken(value=current, valid_until=former_until),
            *([] if kept is None else read_former(kept.secret.reveal())),
        ]
        # The former one first: whatever happens in between, it keeps working, or is known to be ended still.
        previous = write_former(former, now)
        await secrets.store(SecretName.HOOK_TOKEN_PREVIOUS, previous, use_file=secrets.file_in_use)
        place = await secrets.store(SecretName.HOOK_TOKEN, token, use_file=secrets.file_in_use)
        # Last, since without a new one the former must not end.
        if at_once:
            await outbox.end_tokens([digest(one.value) for one in former])
            await secrets.remove(SecretName.HOOK_TOKEN_PREVIOUS)
        else:
            await outbox.end_tokens([digest(current)], former_until)
    return Rotation(token=HookToken(value=token), place=place, former_until=None if at_once else former_until)


async def hook_tokens(installation: Installation, read_ended: ReadEnded = none_ended) -> HookTokens:
    """The tokens for the public listener. Raises SecretFault where there is none."""
    await installation.secrets.require(SecretName.HOOK_TOKEN)

    async def read() -> Sequence[HookToken]:
        try:
            return await read_hook_tokens(installation)
        except SecretFault:
            # The keyring may be locked by now; the tokens known so far stay good.
            return ()

    return HookTokens(await read_hook_tokens(installation), read, installation.clock, read_ended)


def hook_url(settings: Settings, token: HookToken, base: str | None = None) -> str:
    """The URL to paste into IF3."""
    public = base or settings.server.public_url or listener_url(settings.server)
    return f"{public.rstrip('/')}/hooks/if3/{token.value}"
