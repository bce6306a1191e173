"""Alembic's entry: the caller hands over a connection, and owns its transaction.

SQLite cannot rebuild a table that a view reads. All views, also the user's, are therefore dropped first, and put back
at the end unless a script has created them anew. A view that no longer fits the tables stays away.
"""

from alembic import context
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from ffcli.store.tables import METADATA


def drop_views(connection: Connection) -> dict[str, str]:
    """Drop all views, and return the statements that create them, by name."""
    views = views_of(connection)
    for name in views:
        connection.execute(text(f"DROP VIEW {quoted(name)}"))
    return views


def restore_views(connection: Connection, views: dict[str, str]) -> None:
    for name, create in views.items():
        if name not in views_of(connection):
            connection.exec_driver_sql(create)
    # After all of them, because a view may read another one.
    for name in views:
        try:
            connection.execute(text(f"SELECT * FROM {quoted(name)} LIMIT 0"))
        except OperationalError:
            connection.execute(text(f"DROP VIEW {quoted(name)}"))


def views_of(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY rowid"))
    return {row.name: row.sql for row in rows}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


connection = context.config.attributes["connection"]
context.config.attributes["views"] = drop_views(connection)
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
restore_views(connection, context.config.attributes["views"])
