"""Lists that a page gives in full: reasons, statuses, exit codes, payloads."""

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from callrail_relay import errors
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.payload import Payload
from callrail_relay.domain.saved import read_saved
from callrail_relay.sentences import SENTENCES
from tests.docs.markdown import DOCS, ROOT, Block, Page

PAYLOADS = Page(DOCS / "reference" / "payloads.md")
EXIT_CODES = Page(DOCS / "reference" / "exit-codes.md")
TROUBLE = Page(DOCS / "how-to" / "fix-a-text-that-isnt-sent.md")
TOLD_AT_ONCE = {"bad_sender", "no_sender"}
"""These are told to a person who types a text, and hold none."""

CODE = sorted((ROOT / "callrail_relay").rglob("*.py"))
ARCHITECTURE = Page(DOCS / "explanation" / "architecture.md")


@pytest.mark.parametrize("page", [PAYLOADS, TROUBLE], ids=lambda page: page.name)
def test_every_reason_is_explained(page: Page) -> None:
    """
    Whatever can hold a text or keep it waiting is in the reference, and a page says what to do about it.
    """
    reasons = {key.partition(".")[0] for key in SENTENCES}
    if page is TROUBLE:
        reasons -= TOLD_AT_ONCE

    assert reasons <= set(page.inline_code())


def test_every_reason_has_its_sentences() -> None:
    """Whatever code a reason is made with, there is a row for it."""
    made = set(chain.from_iterable(map(_reasons, CODE)))

    assert {"no_phone", "duplicate", "refused", "budget"} <= made
    assert made <= {key.partition(".")[0] for key in SENTENCES}


def test_reasons_are_quoted_as_they_are_shown() -> None:
    """The docs quote each reason as the code has it."""
    tables = [line.split("|")[1] for line in TROUBLE.prose() if line.startswith("|")]
    quotes = set(re.findall('"([^"]+)"', "".join(tables)))
    words = "\n".join(chain(*map(_words, CODE), *SENTENCES.values()))

    assert quotes
    assert {quote for quote in quotes if quote not in words} == set()


def _words(path: Path) -> Iterator[str]:
    """Every text in a file, and every piece of one between its values."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _reasons(path: Path) -> Iterator[str]:
    """The first argument of every ``Reason(…)`` and ``_fault(…)`` in a file, where it is written there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in {"Reason", "_fault"}:
                yield str(node.args[0].value)


def test_every_status_is_explained() -> None:
    """Each status of a text has its row."""
    assert set(Status) <= set(TROUBLE.inline_code())


def test_every_outcome_is_explained() -> None:
    """Each outcome of an attempt has its row."""
    assert set(OutcomeKind) <= set(ARCHITECTURE.inline_code())


@pytest.mark.parametrize("page", [EXIT_CODES, TROUBLE], ids=lambda page: page.name)
def test_every_exit_code_is_explained(page: Page) -> None:
    """Each code that a command can end with has its row."""
    faults = [
        one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.RelayError)
    ]
    rows = {line.split("|")[1].strip() for line in page.prose() if line.startswith("|")}

    assert {str(fault.exit_code) for fault in faults} | {"0", "130"} <= rows


@pytest.mark.parametrize("block", PAYLOADS.blocks("json"), ids=lambda block: block.text[:40])
def test_payloads_of_the_page_can_be_replayed(block: Block) -> None:
    """Every example is read, and has a text and a phone in it."""
    entries = read_saved(block.text.encode())

    assert entries
    assert all(isinstance(entry, Payload) and entry.message and entry.seller_phone for entry in entries)


def test_a_text_is_followed_through_files_that_exist() -> None:
    """The walk is short enough to be read, and names each file once."""
    walk = ARCHITECTURE.text.partition("<!-- walk: begin -->")[2].partition("<!-- walk: end -->")[0]
    files = re.findall(r"^\d+\. `([^`]+)`", walk, re.MULTILINE)

    assert 10 <= len(files) == len(set(files)) <= 18
    assert [] == [file for file in files if not (ROOT / "callrail_relay" / file).is_file()]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_files_of_the_code_that_a_page_names_exist(page: Path) -> None:
    """Relative to the package or to the repository."""
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", page.read_text(encoding="utf-8"))

    assert [] == [
        one for one in named if not any((at / one).is_file() for at in (ROOT / "callrail_relay", ROOT))
    ]
