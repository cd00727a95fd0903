"""
The outbox: what came in, what is to be sent, and what became of it, on disk.

``tables`` defines what is stored, ``engine`` opens SQLite or PostgreSQL, the other files hold the statements,
each with a sentence on what it guarantees, and ``store`` runs them, one transaction each.
"""
