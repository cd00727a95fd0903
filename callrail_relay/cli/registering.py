"""``configure --webhooks``: have CallRail tell the relay of replies and of texts that went out."""

from typing import TYPE_CHECKING

from callrail_relay.cli.console import say
from callrail_relay.errors import SecretFault

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import Installation
    from callrail_relay.bootstrap.webhooks import Registered
    from callrail_relay.domain.webhooks import Change

_INACTIVE = (
    "  They are switched off at CallRail, which does that after many failures. Switch them on in CallRail's "
    "settings, under Integrations > Webhooks."
)


async def register(installation: "Installation", *, use_file: bool) -> "Registered":
    """
    Register at CallRail and say what was done. Raises SecretFault where CallRail tells no signing key.

    *use_file* is a person's wish to keep secrets in the file from now on.
    """
    from callrail_relay.bootstrap.webhooks import register_webhooks

    registered = await register_webhooks(installation, use_file=use_file)
    for one in registered.registrations:
        say(f"Company {one.company_id}: {_words(one.change)}")
        if not one.active:
            say(_INACTIVE)
    if registered.key_place is not None:
        say(f"CallRail's signing keys: {registered.key_place}")
    if registered.outranked_by is not None:
        say(f"  The {registered.outranked_by} wins over them; unset that to use the stored keys.")
    if registered.missing_keys:
        raise SecretFault(
            f"The webhooks are registered, but CallRail did not tell the signing key of "
            f"{', '.join(registered.missing_keys)}. Copy it from CallRail's settings, under Integrations > "
            "Webhooks, and set CALLRAIL_SIGNING_KEY to it (several with commas between them)."
        )
    return registered


def _words(change: "Change") -> str:
    return {
        "created": "the webhooks are new at CallRail.",
        "added": "our URLs were added to the webhooks at CallRail; those of others stay.",
        "unchanged": "our URLs are at CallRail already.",
    }[change.value]
