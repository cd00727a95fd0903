"""The first run as a checklist: each step is seen live, and only the next one says what to do."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Contact, Facts, Node, PublicUrl, Running, Step, Todo, checklist
from callrail_relay.domain.message import Reason
from callrail_relay.domain.views import Waiting
from callrail_relay.sentences import STEPS, TODOS

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
RUNNING = Running((Node(name="office", since=NOW),))
URL = PublicUrl(url="https://texts.example.com")
NOTHING = Facts(now=NOW, running=Running(), accounts=(), waiting=Waiting(), any_sent=False)


def account(paused: Reason | None = None) -> tuple[AccountStatus, ...]:
    one = Account(id="ACC1", paused_since=NOW if paused else None, paused_reason=paused)
    return (AccountStatus(account=one, hour=Window(0, 150), day=Window(0, 1000), pending=0, drains_at=None),)


CONFIGURED = replace(NOTHING, accounts=account())
STARTED = replace(CONFIGURED, running=RUNNING)
CONNECTED = replace(STARTED, contacts={"ACC1": Contact(answered_at=NOW)})
REACHED = replace(CONNECTED, public_url=replace(URL, answered=True))
POSTED = replace(REACHED, last_from_if3=NOW)


@pytest.mark.parametrize(
    ("facts", "done", "todo"),
    [
        (NOTHING, set(), Todo.CONFIGURE),
        (CONFIGURED, {"number"}, Todo.START),
        (STARTED, {"number"}, Todo.CHECK),
        (replace(CONNECTED, accounts=account(Reason("unauthorized"))), {"number"}, Todo.NEW_KEY),
        # It knows the key: what it said is in the verdict.
        (replace(CONNECTED, accounts=account(Reason("forbidden"))), {"key", "number"}, Todo.EXPOSE),
        (replace(CONNECTED, accounts=account(Reason("by_hand"))), {"key", "number"}, Todo.EXPOSE),
        (replace(CONNECTED, running=Running()), {"key", "number"}, Todo.START),
        (CONNECTED, {"key", "number"}, Todo.EXPOSE),
        (replace(CONNECTED, public_url=URL), {"key", "number"}, Todo.CHECK_ADDRESS),
        (replace(CONNECTED, public_url=replace(URL, answered=False)), {"key", "number"}, Todo.CHECK_ADDRESS),
        (REACHED, {"key", "number", "address"}, Todo.PASTE),
        (replace(REACHED, any_sent=True), {"key", "number", "address", "text"}, Todo.PASTE),
        (POSTED, {"key", "number", "address", "webhook"}, Todo.SEND),
    ],
)
def test_the_first_step_that_is_not_done_says_what_to_do(facts: Facts, done: set[str], todo: Todo) -> None:
    items = checklist(facts)

    assert list(Step) == [item.step for item in items]
    assert done == {item.step for item in items if item.done}
    assert [todo] == [item.todo for item in items if item.todo]
    assert next(item for item in items if not item.done).todo is todo


def test_the_first_run_is_over_once_a_text_came_and_one_was_sent() -> None:
    """What is wrong later is for the verdict to say."""
    assert () == checklist(replace(POSTED, any_sent=True))
    assert () == checklist(replace(NOTHING, last_from_if3=NOW, any_sent=True))


def test_every_step_has_its_words() -> None:
    assert [*Step] == [*STEPS]
    assert [*Todo] == [*TODOS]
