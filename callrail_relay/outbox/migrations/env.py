"""
Alembic's entry: runs the steps on the connection that it is handed.
"""

from alembic import context

from callrail_relay.outbox.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot change a column in place: Alembic copies the table.
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
