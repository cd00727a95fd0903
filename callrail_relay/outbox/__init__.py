"""
The outbox: what came in, what is to be sent, and what happened to it, on disk.

``tables`` defines the tables, ``engine`` opens SQLite or PostgreSQL, and ``store`` runs each statement in a
transaction. The other files hold the statements, each with a sentence about what it guarantees.
"""

from callrail_relay.domain import sentences_from

sentence = sentences_from(__package__, "words")
