"""A text from a backup on the dashboard: a question comes before it is sent."""

from callrail_relay.domain.message import Reason, Source, Status
from callrail_relay.web.dashboard import actions

RESTORED = Reason("restored", {"backup": "relay.backup", "made_at": "2026-11-29T14:05:00Z"})
MASS_TEXT = Reason("mass_text", {"people": 5, "window_seconds": 600})


def verbs(*reasons: Reason) -> dict[str, bool]:
    """The buttons of a held text, and whether each asks first."""
    found = actions.allowed(Status.HELD, Source.WEBHOOK, reasons, complete=True, opted_out=False)
    return {verb.name: verb.asks(Status.HELD) for verb in found}


def test_a_restored_text_is_sent_after_a_question_only() -> None:
    """Also one that was held as a mass text: all alike are not sent with one answer."""
    assert {"approve-restored": True, "cancel": False} == verbs(RESTORED)
    assert {"approve-restored": True, "cancel": False, "cancel-alike": True} == verbs(RESTORED, MASS_TEXT)
    assert {"approve": False, "cancel": False, "approve-alike": True, "cancel-alike": True} == verbs(
        MASS_TEXT
    )
