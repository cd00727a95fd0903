"""The settings: what can be set, its rules, where it's read and saved; and the secrets, kept apart."""

from callrail_relay.domain import teller

sentence = teller(__package__, "words")
"""A sentence of this package, filled in."""
