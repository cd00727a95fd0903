"""
What holds for every test: a clean environment, a closed network, no luck.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import environment
from tests.support.network import close_outside_network
from tests.support.parts import in_ci
from tests.support.postgres import postgres_cluster, postgres_url

__all__ = ["postgres_cluster", "postgres_url"]

close_outside_network()

EXAMPLES = "examples"
"""The property with which a test tells how many examples it tried."""

# Time limits would make a slow machine fail; the CI tries the same examples each time.
settings.register_profile(
    "default", deadline=None, derandomize=in_ci(), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.clean(monkeypatch, tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Say how many stories the state machines told: a run that tried few of them should show it.
    """
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    for report in reports:
        for name, value in report.user_properties:
            if name == EXAMPLES:
                terminalreporter.write_line(f"{report.nodeid}: {value} examples")
