"""What `ff train --trace` keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "trace",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("goodness_positive", sa.Double(), nullable=True),
        sa.Column("goodness_negative", sa.Double(), nullable=True),
        sa.Column("drift", sa.Double(), nullable=True),
        sa.Column("cosine", sa.Double(), nullable=True),
        sa.Column("dead_units", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "hour", "layer", name=op.f("pk_trace")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_trace_run_id_run"), ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("trace")
