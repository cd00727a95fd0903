"""
What must be in no log and no message to a person: keys, the words of texts, full phone numbers.

Every test is watched, in its own process and in the programs that it starts: none uses a key, a text or a
number that is not one of these.
"""

import re

KEYS = (
    "test-key-0123456789abcdef",
    "test-token-0123456789abcdef",
    "hook-token-of-the-tests",
    "secret-of-the-channel",
)
TEXTS = (
    "house on Elm Street",
    "still thinking of selling",
    "Is Tuesday good?",
)

# The numbers that are kept for examples, 555-0100 to 555-0199, however they are written.
_PHONE = re.compile(
    r"(?<![0-9A-Za-z])(?:\+?1[ .-]?)?\(?[2-9][0-9]{2}\)?[ .-]{0,2}555[ .-]?01[0-9]{2}(?![0-9A-Za-z])"
)


def leaks(words: str) -> list[str]:
    """What of *words* should not be there."""
    found = [secret for secret in (*KEYS, *TEXTS) if secret in words]
    return found + [match[0] for match in _PHONE.finditer(words)]


def require_no_leak(words: str, where: str) -> None:
    """Raises AssertionError where *words* tell what they should not."""
    found = leaks(words)
    assert not found, f"{where} tells {found}:\n{words}"
