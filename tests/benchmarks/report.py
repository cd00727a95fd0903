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


OURS = "callrail-relay"
HEADINGS = ("figure", OURS, "yardstick", "ratio", "goal", "reached")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def programs(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The figures that were measured at any of the programs *names* as a table, a column for each program."""
    found = {(row.figure, row.yardstick): row.yardstick_value for row in rows if row.yardstick in names}
    figures = dict.fromkeys(figure for figure, _ in found)
    ours = {row.figure: row for row in rows}
    measured = [name for name in names if any(yardstick == name for _, yardstick in found)]
    lines = [("figure", *measured, OURS)]
    for figure in figures:
        values = (*(found.get((figure, name)) for name in measured), ours[figure].value)
        numbers = ("" if value is None else _number(value) for value in values)
        lines.append((f"{figure} ({ours[figure].unit})", *numbers))
    return f"{_lined_up(lines)}\n\n" if figures else ""


def table(rows: Iterable[Row], names: Sequence[str] = ()) -> str:
    """The rows as a Markdown table, without those that have no goal and are in the one of *names*."""
    kept = (row for row in rows if row.goal is not None or row.yardstick not in names)
    return _lined_up([HEADINGS, *(row.cells() for row in kept)])


def _lined_up(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    ]
    rule = "-|-".join("-" * width for width in widths)
    return (
        "\n".join(f"| {line} |" for line in (aligned[0], rule, *aligned[1:]))
        .replace("| -", "|--")
        .replace("- |", "--|")
    )


def load_average() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def machine(disk: float, loop: str, before: float) -> str:
    """
    What this was measured on, in a sentence; *disk* is the time of one write that is forced to disk, in ms,
    and *before* the load average when it began.
    """
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, callrail-relay "
        f"{callrail_relay.__version__}, on the event loop of {loop}. One forced write of 4 KiB took "
        f"{disk:.2f} ms. The load average was {before:.1f} before, and {load_average():.1f} at the end."
    )


def results(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Both tables."""
    return f"{programs(rows, names)}{table(rows, names)}"


def write(shown: str, on: str, command: str, day: date) -> None:
    """Put the results into the page of the docs, in the place of the former ones."""
    results = f"{_BEGIN}\nMeasured on {day} with `{command}`: {on}\n\n{shown}\n{_END}"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: results, page, flags=re.DOTALL), encoding="utf-8")
