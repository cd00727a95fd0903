"""What the relay is measured against does what it is said to do."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks import report, servers
from tests.benchmarks.measures import Bench, arrivals, rows_beside


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks are for Linux")
def test_the_relay_of_30_lines_keeps_its_promises(tmp_path: Path) -> None:
    """Each text is on disk with its attempt, arrives once, and has its outcome."""
    with servers.sink() as callrail:
        bench = Bench(runs=1, folder=tmp_path, callrail=callrail, texts=10)
        with servers.yardstick("keeps", tmp_path, callrail) as server:
            assert 10 == servers.post_load(server.hook, connections=4, count=10)["statuses"]["200"]
            assert set(range(10)) == set(arrivals(bench, 10))
    with closing(sqlite3.connect(tmp_path / "yardstick.db")) as store:
        # The first one is the server's test of itself, which is no text.
        outcomes = store.execute("SELECT outcome FROM attempts ORDER BY id").fetchall()
    assert [(None,), *[(200,)] * 10] == outcomes


def test_each_program_has_its_column() -> None:
    """One that is not there is named where a goal asks for it, and nothing else is said of it."""
    rows = rows_beside("sent", "/s", 20, {"a": 10, "b": 5}, goals={"a": 1, "c": 2}, at_least=True)

    assert [
        ["figure", "a", "b", "callrail-relay"],
        ["sent (/s)", "10", "5", "20"],
    ] == [cells(line) for line in report.programs(rows, ("a", "b", "c")).split("\n") if "| " in line]
    shown = [cells(line) for line in report.table(rows, ("a", "b")).splitlines()]
    assert [
        ["sent", "20 /s", "c: not measured", "", "", ""],
        ["sent", "20 /s", "a: 10", "2.00", "≥ 1", "yes"],
    ] == shown[2:]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
