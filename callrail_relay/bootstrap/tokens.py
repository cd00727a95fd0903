"""
The secret in the webhook's path: where it is kept, how it changes, the URL it makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from callrail_relay.bootstrap.installation import Installation
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.settings import Settings
from callrail_relay.errors import SecretFault
from callrail_relay.service.hook_tokens import GRACE, HookToken, HookTokens, new_token


async def read_hook_tokens(installation: Installation) -> Sequence[HookToken]:
    """
    The tokens that open the webhook, the current one first; none where none is set. Raises SecretFault.
    """
    current = await installation.secrets.find(SecretName.HOOK_TOKEN)
    try:
        former = await installation.secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
    except SecretFault:
        # Only a keyring can hold it; one that does not answer must not keep the current one from working.
        former = None
    tokens = [] if current is None else [HookToken(value=current.secret.reveal())]
    if former is not None:
        valid_until, _, value = former.secret.reveal().partition("|")
        tokens.append(HookToken(value=value, valid_until=datetime.fromisoformat(valid_until)))
    return tokens


async def require_hook_token(installation: Installation) -> HookToken:
    """
    The current token. Raises SecretFault.
    """
    found = await installation.secrets.require(SecretName.HOOK_TOKEN)
    return HookToken(value=found.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """
    A new webhook secret, where it went in words, and until when the former one works as well.
    """

    token: HookToken
    place: str
    former_until: datetime


async def rotate_hook_token(installation: Installation) -> Rotation:
    """
    Make a new token and keep the former one valid for a day.

    Raises SecretFault, also where the token comes from a place that only its owner can change.
    """
    secrets = installation.secrets
    owner = secrets.shadowed_by(SecretName.HOOK_TOKEN)
    if owner is not None:
        raise SecretFault(f"The webhook secret comes from the {owner}; change it there, and restart `serve`.")
    current = await secrets.require(SecretName.HOOK_TOKEN)
    former_until = installation.clock.now() + GRACE
    former = f"{former_until.isoformat()}|{current.secret.reveal()}"
    # The former one first: whatever happens in between, it keeps working.
    await secrets.store(SecretName.HOOK_TOKEN_PREVIOUS, former, use_file=secrets.file_in_use)
    token = new_token()
    place = await secrets.store(SecretName.HOOK_TOKEN, token, use_file=secrets.file_in_use)
    return Rotation(token=HookToken(value=token), place=place, former_until=former_until)


async def hook_tokens(installation: Installation) -> HookTokens:
    """
    The tokens for the public listener. Raises SecretFault where there is none.
    """
    await installation.secrets.require(SecretName.HOOK_TOKEN)

    async def read() -> Sequence[HookToken]:
        try:
            return await read_hook_tokens(installation)
        except SecretFault:
            # The keyring may be locked by now; the tokens known so far stay good.
            return ()

    return HookTokens(await read_hook_tokens(installation), read, installation.clock)


def hook_url(settings: Settings, token: HookToken, base: str | None = None) -> str:
    """
    The URL to paste into IF3.
    """
    server = settings.server
    public = base or server.public_url or f"http://{_reachable(server.host)}:{server.port}"
    return f"{public.rstrip('/')}/hooks/if3/{token.value}"


def _reachable(host: str) -> str:
    """
    A host to listen on as the host of a URL for this machine.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared only
    return f"[{host}]" if ":" in host else host
