"""What the relay does with texts, by itself and when a person asks."""

from callrail_relay.domain import teller

sentence = teller(__package__, "words")
refusal = teller(__package__, "words", "not_allowed")
