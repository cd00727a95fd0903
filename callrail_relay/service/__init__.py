"""What the relay does with texts, by itself and when a person asks."""

from callrail_relay.domain import read_table, sentences_from

sentence = sentences_from(__package__, "words")
refusal = sentences_from(__package__, "words", "not_allowed")
CALLED: dict[str, str] = read_table(__package__, "words")["called"]  # statuses, in refusals
