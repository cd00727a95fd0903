"""
Why a message is held, or why it failed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One reason: a code for programs, a sentence for people.

    The sentence names the remedy where there is one, and never holds a full
    phone number or the words of a text.
    """

    code: str
    detail: str
