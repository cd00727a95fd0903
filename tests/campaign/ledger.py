"""
What was promised, what CallRail got, and what the relay says of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBERED = "{person}: text {number:05}"


@dataclass(kw_only=True)
class Ledger:
    """
    Texts by their words, which are unique: ``promised`` were answered with 200; ``doubtful`` had no answer.
    """

    promised: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """
    The faults that a campaign found; all empty when the relay kept its word.

    ``lost``        promised, not at CallRail, and not shown to a person
    ``false``       shown as sent, and not at CallRail
    ``twice``       at CallRail more than once
    ``disordered``  at CallRail after a text to the same person that came later
    ``unfound``     shown as unknown though CallRail has it
    """

    lost: list[str]
    false: list[str]
    twice: list[str]
    disordered: list[str]
    unfound: list[str]
    shown: int
    taken: int

    @property
    def faults(self) -> int:
        return len(self.lost) + len(self.false) + len(self.twice) + len(self.disordered)


def audit(ledger: Ledger, taken: Iterable[str], messages: Iterable[Mapping[str, Any]]) -> Audit:
    """
    Compare the promises with the texts that CallRail took, in its order, and with the relay's own list.
    """
    at_callrail = list(taken)
    status = {message["text"]: message["status"] for message in messages}
    present = set(at_callrail)
    shown = {text for text, state in status.items() if state in ("unknown", "failed", "held")}
    return Audit(
        lost=[text for text in ledger.promised if text not in present and text not in shown],
        false=[text for text, state in status.items() if state == "sent" and text not in present],
        twice=[text for text, count in Counter(at_callrail).items() if count > 1],
        disordered=list(_disordered(at_callrail)),
        unfound=sorted(text for text in shown if text in present),
        shown=len(shown),
        taken=len(at_callrail),
    )


def _disordered(at_callrail: Iterable[str]) -> Iterable[str]:
    latest: dict[str, str] = defaultdict(str)
    for text in at_callrail:
        person = text.split(":")[0]
        if text < latest[person]:
            yield text
        latest[person] = max(latest[person], text)
