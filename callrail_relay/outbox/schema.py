"""
Bringing a database to the tables of today, and refusing one that is ahead of them.
"""

from pathlib import Path

import sqlalchemy as sa

from callrail_relay.errors import Unavailable
from callrail_relay.outbox.engine import describe, is_sqlite
from callrail_relay.outbox.migrations import HEAD

# One arbitrary number, so that two nodes that start at once do not both create the tables.
_MIGRATION_LOCK = 7_287_245


def migrate(engine: sa.Engine) -> None:
    """
    Run the steps that the database lacks, in one transaction.

    Raises Unavailable where a newer release of this program has written to it.
    """
    with engine.connect() as connection:
        if current_version(connection) == HEAD:
            return
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if not is_sqlite(engine):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        _upgrade(connection)


def current_version(connection: sa.Connection) -> str | None:
    """
    The last step that was run, or None in an empty database.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _upgrade(connection: sa.Connection) -> None:
    # Alembic is loaded only when there is something to do: it takes longer than opening the store.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    version = current_version(connection)
    if version is not None and version not in known:
        raise Unavailable(
            f"The store {describe(connection.engine)} was written by a newer callrail-relay; install "
            "that release "
            "again, or set database.url to another store."
        )
    command.upgrade(config, "head")
