"""The kind of a failure, which was recognised by the beginning of its message before."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Plain SQL: SQLite adds a column in place, whereas Alembic would rebuild the table to add a constraint.
    op.execute(
        "ALTER TABLE run ADD COLUMN failure_kind VARCHAR(16) CONSTRAINT ck_run_failure_kind CHECK (failure_kind IN"
        " ('diverged', 'out of memory', 'worker lost', 'disk full', 'bad input', 'error'))"
    )
    op.execute("UPDATE run SET failure_kind = 'error' WHERE status = 'failed'")
    op.execute(
        "UPDATE run SET failure_kind = 'diverged' WHERE status IN ('failed', 'superseded') AND failure LIKE 'diverged%'"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN failure_kind")
