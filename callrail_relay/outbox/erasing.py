"""
Removing what is personal so that it is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


@contextmanager
def erasing(connection: sa.Connection) -> Iterator[None]:
    """
    What is removed meanwhile is overwritten in SQLite's file, and not only marked as free.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")
