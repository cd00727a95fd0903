"""Why a message is held, or why it failed."""

from dataclasses import dataclass

SHOWS_WHAT_WAS_TYPED = frozenset({"bad_phone", "two_phones", "merge_tag"})
"""Codes of reasons whose sentence shows a phone number or words of the text, and is removed with them."""


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One reason: a code for programs, a sentence for people.

    The sentence names the remedy where there is one. It may show what was typed, so that only the code is
    logged.
    """

    code: str
    detail: str
