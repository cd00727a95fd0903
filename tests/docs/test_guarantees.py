"""The table of faults is complete, and each test that it names is there."""

import re
from pathlib import Path

from callrail_relay.callrail.simulator import Kind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "delivery-guarantees.md").read_text(encoding="utf-8")


def test_every_fault_of_the_sandbox_is_in_the_table() -> None:
    """No kind of fault is left out."""
    assert set() == {kind.value for kind in Kind} - set(re.findall(r"`([a-z_]+)`", PAGE))


def test_every_test_that_is_named_exists() -> None:
    """A row without its test is a promise without proof."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_[a-z_]+)`", PAGE))

    assert named
    assert set() == {name for name in named if f"def {name}(" not in source}
