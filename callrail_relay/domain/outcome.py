"""
The outcome of one attempt.

    Sent         CallRail took the text
    NotSent      proven: no byte of the request was sent, so it may be tried again freely
    Rejected     CallRail answered and refused it, or no request can be made of it
    RateLimited  CallRail refused it for now; it may be sent again later
    Unknown      CallRail may or may not have taken it; it is never sent again blindly
"""

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    SENT = "Sent"
    NOT_SENT = "NotSent"
    REJECTED = "Rejected"
    RATE_LIMITED = "RateLimited"
    UNKNOWN = "Unknown"


class Refusal(StrEnum):
    CONTENT = "content"  # the words of the text, or something unspecified: 400 or 422
    OPTED_OUT = "opted_out"  # this person replied STOP to this tracking number
    AUTHORIZATION = "authorization"  # the key, or what it may do: 401, or 403 without HTML
    FIREWALL = "firewall"  # a firewall in front of CallRail stopped this text: 403 with HTML
    OTHER = "other"  # not the words: this person can't be texted at all (land line, blocked), or 404 to 406
    UNSENDABLE = "unsendable"  # no request can be made from it, so CallRail wasn't asked


@dataclass(frozen=True, slots=True)
class Usage:
    hour_allowed: int | None = None  # from the x-rate-limit-* headers, 1 at least; None if one is absent
    hour_used: int | None = None
    day_allowed: int | None = None
    day_used: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    http_status: int
    conversation_id: str
    thread_id: str | None = None
    usage: Usage = Usage()
    kind = OutcomeKind.SENT
    detail = "CallRail accepted the text."


@dataclass(frozen=True, slots=True)
class NotSent:
    detail: str
    own_fault: bool = False  # this relay gave up on it, which says nothing about CallRail
    kind = OutcomeKind.NOT_SENT
    http_status = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """*http_status* is None if CallRail wasn't asked."""

    http_status: int | None
    detail: str
    refusal: Refusal
    usage: Usage = Usage()
    kind = OutcomeKind.REJECTED


@dataclass(frozen=True, slots=True)
class RateLimited:
    http_status: int
    detail: str
    retry_after: float | None = None  # in seconds; None if CallRail named no reasonable one
    usage: Usage = Usage()
    kind = OutcomeKind.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Unknown:
    detail: str
    http_status: int | None = None
    own_fault: bool = False  # this relay stopped or failed, which says nothing about CallRail
    kind = OutcomeKind.UNKNOWN


class Unsendable(ValueError):
    """Raised before any byte is sent: CallRail can't be asked to send this text to this number."""


Outcome = Sent | NotSent | Rejected | RateLimited | Unknown
