"""The migrations of the store, run by Alembic: each file in ``versions`` names the one before it."""

HEAD = "1"
"""The newest revision. A store that has it is opened without importing Alembic."""

SAME_TABLES = "0016"
"""The last revision of the releases before 0.2.0, whose tables are those of revision 1."""

EARLIER = frozenset(f"{number:04}" for number in range(1, 16))
"""Those before it, from which no migration leads to the tables of today."""
