"""The table of the results, for the terminal and for the docs."""

import os
import platform
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import callrail_relay

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"

_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One figure of the relay beside what it is measured against, medians of the same run.

    *goal* is the ratio to reach, or the value where there is no yardstick; *at_least* says on which side of
    it is good. Without a goal the row is there to be known.
    """

    figure: str
    value: float
    unit: str
    yardstick: str = ""
    yardstick_value: float | None = None
    goal: float | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        return None if not self.yardstick_value else self.value / self.yardstick_value

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured >= self.goal if self.at_least else measured <= self.goal

    def cells(self) -> tuple[str, ...]:
        beside = (
            f"{self.yardstick}: {_number(self.yardstick_value)}" if self.yardstick_value else self.yardstick
        )
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        goal = "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}"
        met = {True: "yes", False: "no", None: ""}[self.met]
        return (self.figure, f"{_number(self.value)} {self.unit}".strip(), beside, ratio, goal, met)


HEADINGS = ("figure", "callrail-relay", "yardstick", "ratio", "goal", "reached")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, its columns lined up."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    aligned = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    ]
    rule = "-|-".join("-" * width for width in widths)
    return (
        "\n".join(f"| {line} |" for line in (aligned[0], rule, *aligned[1:]))
        .replace("| -", "|--")
        .replace("- |", "--|")
    )


def machine(disk: float, loop: str) -> str:
    """
    What this was measured on, in one sentence; *disk* is the time of one write that is forced to disk, in ms.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, callrail-relay "
        f"{callrail_relay.__version__}, on the event loop of {loop}. One forced write of 4 KiB took "
        f"{disk:.2f} ms, and the load average was {load:.1f} at the end."
    )


def write(rows: Sequence[Row], on: str, runs: int, day: date) -> None:
    """Put the results into the page of the docs, in the place of the former ones."""
    results = f"{_BEGIN}\nMeasured on {day}, medians of {runs} runs: {on}\n\n{table(rows)}\n{_END}"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: results, page, flags=re.DOTALL), encoding="utf-8")
