"""Drop the label of the preset, which is computed from the settings of a run."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN preset")


def downgrade() -> None:
    op.execute("ALTER TABLE run ADD COLUMN preset TEXT NOT NULL DEFAULT 'custom'")
    op.execute("UPDATE run SET preset = coalesce(json_extract(config, '$.preset'), 'custom')")
