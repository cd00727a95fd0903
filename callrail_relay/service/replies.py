"""Hearing from CallRail what was written: replies of people, and texts that went out."""

from collections.abc import Callable

from callrail_relay.domain.events import (
    EventHook,
    MaybeOptedOut,
    OptedIn,
    OptedOut,
    OptOutUnplaced,
    ReplyReceived,
    SentByOthers,
    WebhookNotUnderstood,
    ignore,
)
from callrail_relay.domain.inbound import (
    CallRailText,
    Direction,
    Noted,
    ReadText,
    WitnessPolicy,
)
from callrail_relay.domain.opt_keywords import OptKeyword
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.reconciliation import tell
from callrail_relay.service.refusals import Refused, uncounted
from callrail_relay.service.signing_keys import SigningKeys

SIGNATURE_HEADER = "Signature"

EVENT = "event"
"""The name, in the query of the URLs that we register, of which webhook it is."""

EVENTS = {"received": Direction.IN, "sent": Direction.OUT}


class Witness:
    """Keeps what CallRail tells, and says what came of it."""

    def __init__(
        self,
        outbox: Outbox,
        policy: WitnessPolicy,
        *,
        keys: SigningKeys,
        read: ReadText,
        hook: EventHook = ignore,
        heard: Callable[[], None] = lambda: None,
        refused: Refused = uncounted,
    ) -> None:
        """
        *heard* is called when there was a new text: it may let others leave, and a reply is to be passed on.
        *refused* is told why a request was not taken for one of CallRail's.
        """
        self._outbox = outbox
        self._policy = policy
        self._keys = keys
        self._read = read
        self._hook = hook
        self._heard = heard
        self._refused = refused

    async def take(
        self, body: bytes, *, signature: str | None, content_type: str | None, event: str | None = None
    ) -> bool:
        """
        Take a webhook's body as it came; False where CallRail did not sign it, and nothing was read.

        What CallRail signed is never refused: it sends nothing twice, and after too many refusals it
        stops sending. What cannot be read is told to a person. Raises Unavailable when the store fails.
        """
        refusal = await self._keys.refusal(body, signature)
        if refusal is not None:
            self._refused(f"{refusal} on CallRail's webhook")
            return False
        try:
            text = self._read(body, content_type)
            if text is None:
                self._hook(WebhookNotUnderstood(reason="It tells of no text."))
            else:
                await self._note(text, EVENTS.get(event or ""))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours is no reason to be sent no more
            self._hook(WebhookNotUnderstood(reason=type(error).__name__))
        return True

    async def _note(self, text: CallRailText, hint: Direction | None) -> None:
        noted = await self._outbox.note_text(text, self._policy, hint)
        if not noted.is_new:
            return
        tell_noted(self._hook, noted)
        self._heard()


def tell_noted(hook: EventHook, noted: Noted) -> None:
    """Say what became of a text that CallRail told of."""
    if noted.settled is not None:
        tell(hook, noted.settled)
    if noted.by_others:
        hook(SentByOthers(resource_id=noted.key, account_id=noted.account_id))
    if noted.direction is Direction.IN:
        hook(ReplyReceived(resource_id=noted.key, account_id=noted.account_id))
    if noted.suppressed:
        hook(OptedOut(resource_id=noted.key, people=noted.suppressed))
    if noted.doubted:
        hook(MaybeOptedOut(resource_id=noted.key, people=noted.doubted))
    if noted.keyword is OptKeyword.STOP and not noted.people:
        hook(OptOutUnplaced(resource_id=noted.key))
    if noted.lifted:
        hook(OptedIn(resource_id=noted.key))
