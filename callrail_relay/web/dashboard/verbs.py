"""What a person can do on a page with one text or with many, and which button stands out."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_urlsafe

from callrail_relay.domain.message import CANCELLABLE, RESENDABLE, Actor, Source, Status
from callrail_relay.domain.message import Verb as Decided
from callrail_relay.domain.views import MessageSummary
from callrail_relay.web.dashboard.words import WORDS

# How long nothing is sent after a click that sends; the store keeps it, and until then it can be undone.
UNDO_TIME = timedelta(seconds=8)


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing to do with a text; ``question`` is asked first about one that may have been sent already."""

    name: str  # that of the decision, unless it opts the person out
    statuses: tuple[Status, ...]
    label: str
    done: str
    question: str = ""
    if_failed: str = ""
    ask_many: str = ""
    many: str = ""
    done_many: str = ""

    def asks(self, text: MessageSummary) -> bool:
        return self.question != "" and (text.status is Status.UNKNOWN or "restored" in codes(text))

    def of(self, status: Status) -> str:
        """Return its label on a text with this status."""
        return (status is Status.FAILED and self.if_failed) or self.label

    @property
    def sends(self) -> bool:
        return self.name in (Decided.APPROVE, Decided.RESEND)

    def actor(self, who: str) -> Actor:
        """Return the person who clicks on it; one that can be undone has its own mark, and time for it."""
        if not (self.sends or self is CANCEL):
            return Actor(name=who)
        return one_click(who, UNDO_TIME if self.sends else timedelta())


def one_click(who: str, delay: timedelta = UNDO_TIME) -> Actor:
    return Actor(name=who, batch=token_urlsafe(16), delay=delay)


def _verb(name: str, *statuses: Status) -> Verb:
    return Verb(name, statuses, **WORDS["verbs"][name])


APPROVE = _verb(Decided.APPROVE, Status.HELD)
REMAP = _verb(Decided.REMAP, Status.HELD)
RESEND = _verb(Decided.RESEND, *RESENDABLE)
MARK_SENT = _verb(Decided.MARK_SENT, Status.UNKNOWN)
CANCEL = _verb(Decided.CANCEL, *CANCELLABLE)
OPT_OUT = _verb("opt-out", Status.HELD)
VERBS = {verb.name: verb for verb in (APPROVE, OPT_OUT, RESEND, MARK_SENT, REMAP, CANCEL)}
# Reasons beside which *Send anyway* is never the button that stands out.
DOUBTFUL = {"merge_tag", "mass_text", "bulk", "maybe_opted_out", "opt_out", "restored"}


def codes(text: MessageSummary) -> set[str]:
    return {reason.code for reason in text.reasons}


def allowed(text: MessageSummary) -> list[Verb]:
    """Return the buttons of a text."""
    left_out = set[Verb]()
    if "maybe_opted_out" not in codes(text) or text.opted_out:
        left_out.add(OPT_OUT)
    if text.opted_out or not text.complete:
        left_out |= {APPROVE, RESEND}
    if text.complete or text.source is Source.SEND:
        left_out.add(REMAP)
    return [verb for verb in VERBS.values() if text.status in verb.statuses and verb not in left_out]


def in_bulk(text: MessageSummary) -> list[Verb]:
    """Return what can be done with many like it: nothing that may text people twice, or who opted out."""
    verbs = {CANCEL} if is_out(text) else {CANCEL, APPROVE, RESEND}
    return [verb for verb in allowed(text) if verb in verbs and not verb.asks(text)]


def seen(text: MessageSummary) -> str:
    """Return a mark of what a page shows of a text; it changes with words, person and reasons."""
    shown = repr((text.recipient, text.text, sorted(codes(text))))
    return hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()


def is_out(text: MessageSummary) -> bool:
    """Whether the person opted out, or may have."""
    return text.opted_out or not codes(text).isdisjoint({"opt_out", "maybe_opted_out"})


def editable(text: MessageSummary) -> bool:
    return text.status is Status.HELD and text.tracking_number is not None and "restored" not in codes(text)


def standout(text: MessageSummary) -> str:
    """Return the name of the button that stands out; nothing doubtful does."""
    if editable(text) and (not text.complete or "merge_tag" in codes(text)):
        return "edit"
    return "approve" if codes(text).isdisjoint(DOUBTFUL) else ""
