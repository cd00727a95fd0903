"""Run by Alembic: migrates inside the transaction of the connection that it's given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
