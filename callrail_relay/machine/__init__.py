"""Facts about this computer that are neither a setting nor a library: its files, and how it's reached."""

from callrail_relay.domain import sentences_from

sentence = sentences_from(__package__, "words")
