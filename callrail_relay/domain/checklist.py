"""The first run as a checklist: what of the setup is done, seen live, and the one next step."""

from dataclasses import dataclass
from enum import StrEnum

from callrail_relay.domain.health import Facts


class Step(StrEnum):
    KEY = "key"  # CallRail answered to it
    NUMBER = "number"  # an account and a number to text from
    ADDRESS = "address"  # the public one leads to this relay
    WEBHOOK = "webhook"  # IF3 has the URL: its first text came
    TEXT = "text"  # CallRail took one


class Todo(StrEnum):
    CONFIGURE = "configure"
    NEW_KEY = "new_key"
    START = "start"
    CHECK = "check"
    EXPOSE = "expose"
    CHECK_ADDRESS = "check_address"
    PASTE = "paste"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Item:
    step: Step
    done: bool
    todo: Todo | None = None  # what to do now; only the first one that isn't done has it


def checklist(facts: Facts) -> tuple[Item, ...]:
    """The steps of the first run, in order; empty once IF3's first text came and one was sent."""
    if facts.last_from_if3 is not None and facts.any_sent:
        return ()
    todos = {
        Step.KEY: _key(facts),
        Step.NUMBER: None if facts.standings else Todo.CONFIGURE,
        Step.ADDRESS: _address(facts),
        Step.WEBHOOK: None if facts.last_from_if3 is not None else Todo.PASTE,
        Step.TEXT: None if facts.any_sent else Todo.SEND,
    }
    next_step = next(step for step, todo in todos.items() if todo is not None)
    return tuple(
        Item(step, todo is None, todo if step is next_step else None) for step, todo in todos.items()
    )


def _key(facts: Facts) -> Todo | None:
    if not facts.standings:
        return Todo.CONFIGURE
    paused = (one.account.paused_reason for one in facts.standings)
    if any(reason is not None and reason.code in ("unauthorized", "forbidden") for reason in paused):
        return Todo.NEW_KEY
    if any(contact.answered_at is not None for contact in facts.contacts.values()):
        return None
    return Todo.CHECK if facts.running else Todo.START


def _address(facts: Facts) -> Todo | None:
    if facts.public_url is not None and facts.public_url.answered:
        return None
    if not facts.running:
        return Todo.START  # without a relay no address leads to it
    return Todo.EXPOSE if facts.public_url is None else Todo.CHECK_ADDRESS
