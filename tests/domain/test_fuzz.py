"""Some seconds of ``python -m tests.domain.fuzz``, the same ones each time."""

from random import Random

import pytest

from tests.domain.fuzz import fuzz


@pytest.mark.no_cover
@pytest.mark.slow
def test_no_bytes_break_the_mapping() -> None:
    """Whatever comes, it becomes texts or reasons, and quickly."""
    # Other tests share the processor; the command is stricter.
    report = fuzz(Random(19), lambda tried: tried < 500, limit=0.5)

    assert [] == report.faults
    assert 500 == report.tried
