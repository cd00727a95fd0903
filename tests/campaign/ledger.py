"""What was promised, what CallRail got, and what the relay says of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBERED = "{person}: text {number:05}"


@dataclass(kw_only=True)
class Ledger:
    """
    Texts by their words, which are unique: ``promised`` were answered with 200; ``doubtful`` were not.

    ``refused`` counts those of the doubtful that had a clear answer: 503.
    """

    promised: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True, kw_only=True)
class Audit:
    """
    The faults that a campaign found; all empty when the relay kept its word.

    ``lost``        promised, not at CallRail, not waiting, and not shown to a person
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


def audit(
    ledger: Ledger,
    taken: Iterable[str],
    messages: Iterable[Mapping[str, Any]],
    *,
    order_of_all: bool = True,
) -> Audit:
    """
    Compare the promises with the texts that CallRail took, in its order, and with the relay's own list.

    *order_of_all* False asks for the order of promised texts only: what a node that is cut off sent to its
    database without an answer may be stored after texts that went to another node later.
    """
    at_callrail = list(taken)
    status = {message["text"]: message["status"] for message in messages}
    present = set(at_callrail)
    shown = {text for text, state in status.items() if state in ("unknown", "failed", "held")}
    kept = {text for text, state in status.items() if state == "queued"}
    promised = set(ledger.promised)
    return Audit(
        lost=[text for text in ledger.promised if text not in present | shown | kept],
        false=[text for text, state in status.items() if state == "sent" and text not in present],
        twice=[text for text, count in Counter(at_callrail).items() if count > 1],
        disordered=list(_disordered(text for text in at_callrail if order_of_all or text in promised)),
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
