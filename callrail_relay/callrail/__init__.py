"""CallRail: ``client`` talks to it, ``wire`` has its names, ``answers`` reads its answers. A simulator."""

from callrail_relay.domain import sentences_from

sentence = sentences_from(__package__, "words")
