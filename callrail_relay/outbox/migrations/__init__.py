"""
The steps from an empty database to the tables of today.
"""

HEAD = "0008"
"""The newest step; a store at this one is opened without loading Alembic."""
