"""
Imports point downwards, and only the clock reads the time.

The source is read, not imported: what a function imports when it is called counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import callrail_relay

PACKAGE = Path(callrail_relay.__file__).parent

GROUND = {"domain", "errors", "clock", "replacing"}
ADAPTERS = {"outbox", "callrail", "config", "telemetry", "machine"}

# What each part may import of the package besides itself; "" is the package's own `__init__`.
MAY_IMPORT: dict[str, set[str]] = {
    "": {"callrail", "domain"},
    "errors": set(),
    "clock": set(),
    "replacing": {"clock"},
    "network": {"domain", "errors"},
    "domain": {"errors"},
    "sentences": {"domain"},
    **{adapter: {"", "network", *GROUND} for adapter in ADAPTERS},
    "telemetry": {"", "sentences", *GROUND},
    "service": {"", "outbox", "sentences", *GROUND},
    "bootstrap": {"", "network", "sentences", "service", "web", *GROUND, *ADAPTERS},
    "web": {"", "bootstrap", "sentences", "service", *GROUND},
    "cli": {"", "bootstrap", "sentences", "service", *GROUND},
    "__main__": {"cli"},
}

STORES = {"alembic", "psycopg", "sqlalchemy", "sqlite3"}
FRAMEWORKS = {"click", "httpcore2", "httpx2", "rich", "starlette", "typer", "uvicorn"}
IO = {
    "apprise",
    "filelock",
    "ftplib",
    "http",
    "imaplib",
    "jinja2",
    "keyring",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "platformdirs",
    "prometheus_client",
    "select",
    "selectors",
    "shutil",
    "smtplib",
    "socket",
    "ssl",
    "structlog",
    "subprocess",
    "tempfile",
    "threading",
    "tomlkit",
    "urllib.request",
}

NEVER_IMPORTS: dict[str, set[str]] = {
    "domain": {"anyio", "asyncio", "time", *IO, *STORES, *FRAMEWORKS},
    "errors": {"anyio", "asyncio", "time", *IO, *STORES, *FRAMEWORKS},
    "clock": {*IO, *STORES, *FRAMEWORKS},  # waiting is its business
    "service": {"keyring", *STORES, *FRAMEWORKS},
}

# Functions that need no import to reach the outside world.
IO_CALLS = {"open", "print", "input"}

READS_THE_TIME = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.localtime",
    "time.gmtime",
    "time.sleep",
    "asyncio.sleep",
    "anyio.sleep",
    "anyio.sleep_until",
    "anyio.current_time",
}


def test_every_import_points_downwards() -> None:
    """Each file imports only what the table of the design allows, and reads no clock but `clock.py`."""
    assert [] == [fault for module, source in sources() for fault in faults(module, source)]


def test_every_part_stands_in_the_table() -> None:
    """A new part of the package gets its line in the table."""
    assert set(MAY_IMPORT) >= {part_of(module) for module, _ in sources()}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("callrail_relay.domain.retry", "import httpx2"),
        ("callrail_relay.domain.retry", "import urllib.request"),
        ("callrail_relay.domain.retry", "from urllib import request"),
        ("callrail_relay.domain.retry", "from http.client import HTTPConnection"),
        ("callrail_relay.domain.retry", "from callrail_relay.outbox import store"),
        ("callrail_relay.domain.retry", "from callrail_relay import clock"),
        ("callrail_relay.domain.retry", "from ..service import delivery"),
        ("callrail_relay.domain.retry", "from .. import service"),
        ("callrail_relay.domain.retry", "print('hello')"),
        ("callrail_relay.errors", "import callrail_relay.domain.message"),
        ("callrail_relay.clock", "import socket"),
        ("callrail_relay.outbox.store", "from callrail_relay.config.settings import Settings"),
        ("callrail_relay.callrail.client", "from callrail_relay.telemetry import logs"),
        ("callrail_relay.config", "from .outbox import store"),
        ("callrail_relay.telemetry.logs", "from callrail_relay.service import health"),
        ("callrail_relay.service.intake", "import sqlalchemy as sa"),
        ("callrail_relay.service.intake", "def send() -> None:\n    from httpx2 import AsyncClient"),
        ("callrail_relay.service.intake", "from callrail_relay.callrail.client import CallRail"),
        ("callrail_relay.service.intake", "from callrail_relay.bootstrap import assemble"),
        ("callrail_relay.bootstrap", "from callrail_relay.cli import app"),
        ("callrail_relay.cli.serve", "from callrail_relay.web.app import create_app"),
        ("callrail_relay.cli.serve", "from callrail_relay.callrail import client"),
        ("callrail_relay.web.app", "from callrail_relay.cli import render"),
        ("callrail_relay.web.app", "from callrail_relay.outbox import store"),
        ("callrail_relay.service.intake", "import datetime\nNOW = datetime.datetime.now(datetime.UTC)"),
        ("callrail_relay.service.intake", "from datetime import datetime as dt\nNOW = dt.now()"),
        ("callrail_relay.outbox.store", "from time import monotonic\nmonotonic()"),
        ("callrail_relay.outbox.store", "import time\ndef wait(clock=time.monotonic): ..."),
        ("callrail_relay.cli.status", "import asyncio\nasync def wait(): await asyncio.sleep(1)"),
    ],
)
def test_wrong_source_is_noticed(module: str, source: str) -> None:
    """The check can fail."""
    assert 1 == len(faults(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "callrail_relay.domain.retry",
            "from .outcome import Sent\nfrom callrail_relay.errors import Waiting",
        ),
        ("callrail_relay.domain.payload", "from urllib.parse import parse_qsl\nimport random"),
        ("callrail_relay.domain.account", "from datetime import datetime\ndatetime(2026, 1, 1)"),
        ("callrail_relay.clock", "import asyncio, time\nasyncio.sleep(1)\ntime.monotonic()"),
        ("callrail_relay.callrail.client", "import httpx2\nfrom callrail_relay import __version__"),
        ("callrail_relay.outbox.store", "from callrail_relay.outbox import tables\nfrom . import tables"),
        ("callrail_relay.service.intake", "def handle(clock): return clock.now(), clock.time.time()"),
        ("callrail_relay.bootstrap", "from callrail_relay.web import app\nfrom callrail_relay import outbox"),
        ("callrail_relay.cli.serve", "from callrail_relay import bootstrap"),
        ("callrail_relay.__main__", "from callrail_relay.cli import main"),
    ],
)
def test_right_source_passes(module: str, source: str) -> None:
    """The check does not cry wolf."""
    assert [] == faults(module, source)


def sources() -> Iterator[tuple[str, str]]:
    """The dotted name and the text of every file of the package."""
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        yield name, file.read_text(encoding="utf-8")


def faults(module: str, source: str) -> list[str]:
    """What is wrong in one file, as sentences."""
    part = part_of(module)
    tree = ast.parse(source)
    names = dict(_bindings(module, tree))
    found = [
        f"{module}:{line} imports {name}"
        for name, line in _imports(module, tree)
        if not _may_import(part, name)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and part != "clock" and _full_name(node, names) in READS_THE_TIME:
            found.append(f"{module}:{node.lineno} uses {ast.unparse(node)}; only clock.py reads the time")
        if isinstance(node, ast.Call) and part in GROUND and ast.unparse(node.func) in IO_CALLS:
            found.append(f"{module}:{node.lineno} calls {ast.unparse(node.func)}")
    return found


def part_of(module: str) -> str:
    """
    `callrail_relay.outbox.store` is in the part `outbox`; what is directly in `callrail_relay` is in "".
    """
    part = [*module.split("."), ""][1]
    return "" if part == "__init__" else part


def _imports(module: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The full name and the line of everything a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{_origin(module, node)}.{alias.name}", node.lineno) for alias in node.names)


def _bindings(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The name by which a file knows what it imports, and its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (root, root)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{_origin(module, node)}.{alias.name}"


def _origin(module: str, node: ast.ImportFrom) -> str:
    """Where a `from … import` takes from; each dot is one step up from the file."""
    parents = module.split(".")[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


def _may_import(part: str, name: str) -> bool:
    if name.split(".", maxsplit=1)[0] == "callrail_relay":
        other = part_of(name)
        return (other if other in MAY_IMPORT else "") in {part, *MAY_IMPORT[part]}
    return not any(f"{name}.".startswith(f"{banned}.") for banned in NEVER_IMPORTS.get(part, ()))


def _full_name(node: ast.expr, names: dict[str, str]) -> str | None:
    """
    `dt.now` is `datetime.datetime.now` where `dt` is `datetime.datetime`; None for what was not imported.
    """
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, names)
        return f"{owner}.{node.attr}" if owner else None
    return None
