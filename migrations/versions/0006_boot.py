"""The boot of the system on which a run's process started, which identifies the process without the clock."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE run ADD COLUMN boot VARCHAR(36)")


def downgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN boot")
