"""Alembic's entry: the caller hands over a connection, and owns its transaction."""

from alembic import context

from ffcli.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
