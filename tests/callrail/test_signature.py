import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.callrail.wire import sign, verify

KEY = "example-signing-key"
BODY = b'{"resource_id":"SCI1","content":"STOP"}'
SIGNATURE = "mTeVNtXtcGFbVNtGawbviuG4f4M="


def test_signature_is_the_one_callrail_makes() -> None:
    """The known body under the known key has the known signature."""
    assert SIGNATURE == sign(KEY, BODY)


@given(st.text(min_size=1), st.binary())
def test_signed_body_verifies(key: str, body: bytes) -> None:
    """Whatever is signed verifies, also while several keys are valid."""
    assert verify([key], body, sign(key, body))
    assert verify(["another", key, ""], body, sign(key, body))


@pytest.mark.parametrize(
    ("keys", "body", "header"),
    [
        (["another"], BODY, SIGNATURE),
        ([KEY], BODY + b" ", SIGNATURE),
        ([KEY], BODY, SIGNATURE.lower()),
        ([KEY], BODY, "schön"),
        ([KEY], BODY, ""),
        ([KEY], BODY, None),
        ([], BODY, SIGNATURE),
        ([""], BODY, sign("", BODY)),
    ],
)
def test_anything_else_does_not_verify(keys: list[str], body: bytes, header: str | None) -> None:
    """Another key, body or header, no key and an empty key all fail, without an exception."""
    assert not verify(keys, body, header)
