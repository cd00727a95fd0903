"""What holds for every test: a clean environment, a closed network, no luck."""

import gc
import os
import signal
import sqlite3
from collections.abc import Generator
from pathlib import Path

import keyring
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from keyring.backends import fail

from tests.support import environment
from tests.support.certificates import keep_certificates
from tests.support.command_line import keep_commands
from tests.support.compiled import share_compiled_statements
from tests.support.leaks import leaks
from tests.support.memory_keyring import memory
from tests.support.network import close_outside_network
from tests.support.postgres import postgres_cluster, postgres_url

__all__ = ["memory", "postgres_cluster", "postgres_url"]

close_outside_network()
keep_certificates()
keep_commands()
share_compiled_statements()
# A shell's background job ignores Ctrl-C, and so would every program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A test that wants a keyring brings one: this process would find MemoryKeyring, or a developer's own.
keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]  # keyring has no annotation there

EXAMPLES = "examples"
"""The property with which a test tells how many examples it tried."""

LEAKS = pytest.StashKey[int]()
"""How many leaks of a test are known."""

# Time limits would make a slow machine fail. The same examples are tried each time; others on request.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=os.environ.get("RANDOM_EXAMPLES", "") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
settings.load_profile("default")


def leave_deleted_content(connection: object, _record: object) -> None:
    """
    Open SQLite as Python on Windows has it; Debian's build overwrites what is deleted without being told to.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA secure_delete=OFF").close()


sa.event.listen(sa.Engine, "connect", leave_deleted_content, insert=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage neither while thousands of tests are collected, nor among them later: none goes."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """
    Begin each worker's share with the longest tests, or one of them would run alone at the end.

    Those have a time limit of their own. The first worker begins with all that use a browser, so that no
    other one starts it. pytest-xdist cuts the list into one share for each worker.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    firsts: list[list[pytest.Function]] = [[] for _ in range(workers)]
    others, long_ones = [], 0
    for item in items:
        if "browser" in item.fixturenames:
            firsts[0].append(item)
        elif item.get_closest_marker("timeout") is not None:
            firsts[-1 - long_ones % max(workers - 1, 1)].append(item)
            long_ones += 1
        else:
            others.append(item)
    left = len(items)
    items.clear()
    for place, first in enumerate(firsts):
        share = left // (workers - place)
        items += [*first, *others[: max(share - len(first), 0)]]
        del others[: max(share - len(first), 0)]
        left -= share


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.clean(monkeypatch, tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Fail a test whose log, or whatever it wrote to standard error, tells a key, a text or a phone number.
    """
    report = yield
    found = leaks(report.capstderr + report.caplog)
    # What was written before is in the reports of setting up, of the test and of tearing down.
    known, item.stash[LEAKS] = item.stash.get(LEAKS, 0), len(found)
    if len(found) > known and report.passed:
        report.outcome = "failed"
        report.longrepr = f"Its log or its standard error tells {found}."
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many stories the state machines told: a run that tried few of them should show it."""
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    for report in reports:
        for name, value in report.user_properties:
            if name == EXAMPLES:
                terminalreporter.write_line(f"{report.nodeid}: {value} examples")
