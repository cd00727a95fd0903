"""
Whatever happens, in whatever order: kept, once, in order, within the limits.

The same stories are told each time; ``STATE_MACHINE_EXAMPLES=20000`` in the environment tells so many others.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import EXAMPLES
from tests.outbox.machine import RelayMachine, open_bench

ON_REQUEST = int(os.environ.get("STATE_MACHINE_EXAMPLES", "0"))
USUAL = {"sqlite": 60, "postgresql": 30}
STEPS = 25
DISK_IN_MEMORY = Path("/dev/shm")

pytestmark = [pytest.mark.timeout(0 if ON_REQUEST else 900), pytest.mark.no_cover]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that is memory, where there is one: every commit waits for the disk."""
    if not os.access(DISK_IN_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=DISK_IN_MEMORY) as folder:
        yield Path(folder)


@pytest.mark.parametrize("database", USUAL)
def test_nothing_that_happens_breaks_a_promise(
    database: str,
    request: pytest.FixtureRequest,
    memory: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """No text is lost, doubled without a word, out of order, or beyond the limits of an hour and a day."""
    if database == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
    else:
        url = f"sqlite:///{(memory / 'relay.db').as_posix()}"
    with open_bench(url) as bench:

        class Machine(RelayMachine):
            def __init__(self) -> None:
                super().__init__(bench)

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=share(database),
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=not ON_REQUEST,
                database=None,
                print_blob=True,
                # A story that breaks a promise is shown as it was found: shortening it takes many minutes.
                phases=[Phase.generate],
                suppress_health_check=[*HealthCheck],
            ),
        )
        record_property(EXAMPLES, bench.examples)


def share(database: str) -> int:
    """How many examples a database gets."""
    usual = USUAL[database]
    return ON_REQUEST * usual // sum(USUAL.values()) if ON_REQUEST else usual
