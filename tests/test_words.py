"""The sentences that stand in data: each one that the code names is there, and none is left over."""

import ast
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from callrail_relay.web import public, server

PACKAGE = Path(str(files("callrail_relay")))


def asked(folder: str, functions: set[str]) -> Iterator[str]:
    """What calls of *functions* are for, such as "a" and "b" in `say("a" if … else "b")`."""
    place = PACKAGE / folder
    for path in [place] if place.suffix else place.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in functions and node.args:
                first = node.args[0]
                parts = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
                yield from (str(part.value) for part in parts if isinstance(part, ast.Constant))


@pytest.mark.parametrize(
    ("functions", "folders", "file", "table"),
    [
        ({"say", "visit.reason"}, ["web"], "web/dashboard/words.toml", "notices"),
        ({"plain", "frame.plain"}, ["web"], "web/dashboard/words.toml", "plain"),
        ({"sentence"}, ["cli"], "cli/words.toml", "sentences"),
        ({"sentence"}, ["bootstrap"], "bootstrap/words.toml", ""),
        ({"sentence"}, ["callrail"], "callrail/words.toml", ""),
        ({"sentence"}, ["config"], "config/words.toml", ""),
        ({"must", "t.must"}, ["config"], "config/types.toml", ""),
        ({"sentence"}, ["machine"], "machine/words.toml", ""),
        ({"sentence"}, ["network.py"], "network.toml", ""),
        ({"sentence"}, ["outbox"], "outbox/words.toml", ""),
        ({"sentence"}, ["service"], "service/words.toml", ""),
        ({"says"}, ["service", "bootstrap"], "service/health.toml", ""),
        ({"_sentence"}, ["domain"], "domain/opt_outs.toml", ""),
        ({"_gauge"}, ["telemetry"], "telemetry/metrics.toml", "gauges"),
    ],
)
def test_each_sentence_is_there_and_used(
    functions: set[str], folders: list[str], file: str, table: str
) -> None:
    rows = tomllib.loads(PACKAGE.joinpath(file).read_text(encoding="utf-8"))
    rows = rows[table] if table else {name: row for name, row in rows.items() if isinstance(row, str)}
    assert set(rows) == {name for folder in folders for name in asked(folder, functions)}


def test_no_sentence_stands_in_the_code_of_the_pages() -> None:
    """Editors find all of them in words.toml, forms.toml and the templates."""
    left: list[str] = []
    for path in set((PACKAGE / "web").rglob("*.py")) - {Path(public.__file__), Path(server.__file__)}:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = {node for node in ast.walk(tree) if isinstance(node, ast.Constant)} - docs
        left += [text for node in texts if isinstance(text := node.value, str) and is_sentence(text)]
    assert [] == left


def is_sentence(text: str) -> bool:
    return text[:1].isupper() and " " in text and text.rstrip().endswith((".", "?", "!", "…"))
