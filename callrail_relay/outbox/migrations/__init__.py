"""The migrations of the store, run by Alembic; each file in ``versions`` names the one before it."""

# The newest revision. A store that has it is opened without importing Alembic.
HEAD = "3"
# Those of before 0.2.0, whose tables and values no migration brings over.
EARLIER = frozenset(f"{number:04}" for number in range(1, 17))
