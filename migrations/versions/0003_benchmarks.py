"""What `ff bench --save` keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "benchmarks",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("measured", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("machine", sa.JSON(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("breakdown", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benchmarks")),
    )
    op.create_index("ix_benchmarks_host", "benchmarks", ["host", "measured"])


def downgrade() -> None:
    op.drop_table("benchmarks")
