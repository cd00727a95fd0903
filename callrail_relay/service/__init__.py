"""What the relay does with texts, by itself and when a person asks."""

from callrail_relay.domain import sentences_from

sentence = sentences_from(__package__, "words")
refusal = sentences_from(__package__, "words", "not_allowed")
