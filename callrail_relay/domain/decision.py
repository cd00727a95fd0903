"""What a person decided on a message."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What a person may decide."""

    APPROVE = "approve"
    CANCEL = "cancel"
    RESEND = "resend"
    MARK_SENT = "mark-sent"
    REMAP = "remap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Who decides, and why, in their own words."""

    person: str
    note: str | None = None


UNSIGNED = Word(person="somebody")
"""Where nobody says who decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision as it is kept; *overridden* are the codes of the reasons that the message showed."""

    decided_at: datetime
    verb: Verb
    word: Word
    overridden: tuple[str, ...] = ()
