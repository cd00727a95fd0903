"""
The steps from an empty database to the tables of today: each a file in ``versions``, taken in their order.

A file is named for its number and what it is about; its ``upgrade`` gets an ``Op``. Alembic, which others use
for this, would be 9 MB of memory in the first run on a store, and 4 MB on every disk.
"""

HEAD = "0016"
"""The newest step; a store at this one is opened without loading any."""
