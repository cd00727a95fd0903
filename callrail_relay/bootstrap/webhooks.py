"""
CallRail's own webhooks: their keys, and who listens to them.
"""

from collections.abc import Callable, Sequence

from callrail_relay.bootstrap.installation import Installation
from callrail_relay.callrail.signature import verify
from callrail_relay.callrail.webhooks import read_text
from callrail_relay.config.secrets import SecretName
from callrail_relay.domain.events import EventHook
from callrail_relay.errors import SecretFault
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.signing_keys import SigningKeys
from callrail_relay.service.witness import Witness


def split_keys(secret: str) -> list[str]:
    """
    The keys in a secret that may hold several, with commas between them.
    """
    return [key.strip() for key in secret.split(",") if key.strip()]


async def read_signing_keys(installation: Installation) -> Sequence[str]:
    """
    CallRail's signing keys; none where none is set, or where the place that may have them does not answer.
    """
    try:
        found = await installation.secrets.find(SecretName.SIGNING_KEYS)
    except SecretFault:
        # Texts go out without them: a keyring that is locked must not keep the relay from starting.
        return ()
    return () if found is None else split_keys(found.secret.reveal())


async def signing_keys(installation: Installation) -> SigningKeys:
    """
    The keys for the public listener.
    """

    async def read() -> Sequence[str]:
        return await read_signing_keys(installation)

    return SigningKeys(await read(), read, verify, installation.clock)


async def open_witness(
    installation: Installation, outbox: Outbox, hook: EventHook, changed: Callable[[], None]
) -> Witness:
    """
    Who takes what CallRail's webhooks tell.
    """
    return Witness(
        outbox,
        installation.witness,
        keys=await signing_keys(installation),
        read=read_text,
        hook=hook,
        changed=changed,
    )
