"""A few seconds of what ``python -m tests.floods`` and ``python -m tests.floods.fuzz`` do for longer."""

import sys
from pathlib import Path

import pytest

from tests.floods.fuzz import fuzz

if sys.platform == "linux":
    from tests.floods.measure import MOST_MEMORY, measure


@pytest.mark.anyio
async def test_broken_http_breaks_nothing(tmp_path: Path) -> None:
    """
    Neither an answer of 5xx, nor an error in the log, nor a callback that holds up the others. Measuring
    coverage slows each of them, so the command is stricter.
    """
    report = await fuzz(tmp_path, seconds=3, seed=1, most_cpu=1.0)

    assert [] == report.faults
    assert report.statuses["200"]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("attack", ["pipelined", "idle"])
def test_flood_takes_no_memory(tmp_path: Path, attack: str) -> None:
    """And every good webhook is answered meanwhile."""
    figures = measure(attack, "public", tmp_path, seconds=3)

    assert figures.growth < MOST_MEMORY
    assert figures.webhooks
