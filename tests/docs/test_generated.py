"""The pages that follow from the code."""

from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, load_faults
from callrail_relay.callrail.simulator.api import sandbox_routes
from callrail_relay.config.loading import variable_names
from callrail_relay.config.settings import TABLES
from tests.callrail.simulated import make_simulator
from tests.docs.generate import COMMAND, generated, named_commands
from tests.docs.markdown import DOCS, Page

REFERENCE = DOCS / "reference"
SANDBOX = Page(REFERENCE / "sandbox.md")


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_generated_page_is_up_to_date(path: Path) -> None:
    """The reference has what the code says today."""
    assert generated()[path] == path.read_text(encoding="utf-8"), f"Run `{COMMAND}` and look at what changed."


def test_every_command_is_in_the_reference() -> None:
    """Each command has a heading, with its help and its options below."""
    anchors = Page(REFERENCE / "commands.md").anchors()

    assert (
        {"configure", "messages-show"} <= {name.replace(" ", "-") for name, _ in named_commands()} <= anchors
    )


def test_every_setting_is_in_the_reference() -> None:
    """Each key is under its table, and with its environment variable unless it is one of a list of tables."""
    page = Page(REFERENCE / "settings.md")
    code = set(page.inline_code())

    assert set(TABLES) <= page.anchors()
    assert {key for model in TABLES.values() for key in model.model_fields} <= code
    assert {name for name in variable_names() if "__" in name} <= code


def test_every_route_of_the_sandbox_is_described() -> None:
    """Nothing under /sandbox is left for the reader to find."""
    described = SANDBOX.inline_code()

    for route in sandbox_routes(make_simulator()):
        assert any(f"{method} {route.path}" in described for method in route.methods or ()), route.path


def test_every_field_of_a_fault_is_described() -> None:
    """A fault has no field that the page does not name."""
    assert set(Fault.__slots__) <= set(SANDBOX.inline_code())


def test_faults_of_the_example_can_be_used() -> None:
    """The example is a file that `sandbox --faults` takes."""
    [example] = SANDBOX.blocks("json")

    assert 3 == len(load_faults(example.text))
