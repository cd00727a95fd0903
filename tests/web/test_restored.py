"""A text from a backup on the dashboard: a question comes before it is sent."""

from datetime import UTC, datetime

from callrail_relay.domain.message import Reason, Source, Status
from callrail_relay.domain.views import MessageSummary
from callrail_relay.web.dashboard import verbs
from tests.support.factories import RECIPIENT, TRACKING_NUMBER

RESTORED = Reason("restored", {"backup": "relay.backup", "made_at": "2026-11-29T14:05:00Z"})
MASS_TEXT = Reason("mass_text", {"people": 5, "window_seconds": 600})


def held(*reasons: Reason) -> MessageSummary:
    return MessageSummary(
        id="M1",
        seq=1,
        status=Status.HELD,
        source=Source.WEBHOOK,
        received_at=datetime(2026, 11, 29, tzinfo=UTC),
        reasons=reasons,
        recipient=RECIPIENT,
        text="Hi",
        tracking_number=TRACKING_NUMBER,
    )


def buttons(*reasons: Reason) -> dict[str, bool]:
    """The buttons of a held text, and whether each asks first."""
    text = held(*reasons)
    return {verb.name: verb.asks(text) for verb in verbs.allowed(text)}


def test_a_restored_text_is_sent_after_a_question_only() -> None:
    """Also one that was held as a mass text: all alike are not sent with one answer."""
    assert {"approve": True, "cancel": False} == buttons(RESTORED)
    assert {"approve": True, "cancel": False} == buttons(RESTORED, MASS_TEXT)
    assert {"approve": False, "cancel": False} == buttons(MASS_TEXT)
    assert ["cancel"] == [verb.name for verb in verbs.in_bulk(held(RESTORED, MASS_TEXT))]
    assert ["approve", "cancel"] == [verb.name for verb in verbs.in_bulk(held(MASS_TEXT))]


def test_sending_a_restored_text_never_stands_out() -> None:
    """Nor can it be edited and so be sent without the question."""
    assert "" == verbs.standout(held(RESTORED))
    assert "approve" == verbs.standout(held())
    assert (False, True) == (verbs.editable(held(RESTORED)), verbs.editable(held()))
