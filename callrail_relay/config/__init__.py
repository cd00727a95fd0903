"""The settings: what can be set, its rules, where it's read and saved; and the secrets, kept apart."""

from callrail_relay.domain import sentences_from

sentence = sentences_from(__package__, "words")
