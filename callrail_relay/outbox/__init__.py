"""
The outbox: what came in, what is to leave, and what became of it, on disk.

``tables`` defines what is stored, ``engine`` opens SQLite or PostgreSQL,
``intake``, ``claiming``, ``recording``, ``operations`` and ``reading`` hold the
statements, each with a sentence on what it guarantees, and ``store`` runs them,
one transaction each.
"""
