"""Events: frozen, named, and without anything that a log must not hold."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain import events
from callrail_relay.domain.events import Event, StoreFailed, ignore

EVENTS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]

FORBIDDEN = {"text", "content", "recipient", "tracking_number", "key", "api_key", "body"}


def test_every_event_has_a_name_of_its_own() -> None:
    """Logs are searched by it."""
    names = [kind.action for kind in EVENTS]

    assert len(set(names)) == len(names)
    assert Event.action not in names


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_is_loud_in_a_way_that_logs_know(kind: type[Event]) -> None:
    """One of the levels of logging."""
    assert kind.default_level in {"debug", "info", "warning", "error"}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_no_event_has_a_place_for_what_is_private(kind: type[Event]) -> None:
    """Words, phone numbers and keys cannot be told, not even by mistake."""
    assert FORBIDDEN.isdisjoint(field.name for field in fields(kind))


def test_an_event_does_not_change() -> None:
    """Every hook sees the same."""
    failed = StoreFailed(reason="locked", retry_in=timedelta(seconds=1))

    with pytest.raises(FrozenInstanceError):
        failed.reason = "other"  # type: ignore[misc]  # that is what is tried here


def test_whoever_does_not_want_to_know_is_told_nothing() -> None:
    """The hook that does nothing takes every event."""
    hook: events.EventHook = ignore

    hook(events.AccountWaits(account_id="ACC1", until=datetime(2026, 3, 2, tzinfo=UTC), reason="429"))


@pytest.mark.parametrize("action", [["attempt_started"], {"a": 1}, None, 7, "nothing_of_ours"])
def test_a_line_of_another_program_is_no_event(action: object) -> None:
    """Whatever its action is: `service logs` shows such lines as they are."""
    assert events.read_event({"action": action}) is None
