"""Runs and their epochs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("data_source", sa.String(16), nullable=False),
        sa.Column("negatives", sa.Text(), nullable=False),
        sa.Column("pos_phase", sa.Integer(), nullable=False),
        sa.Column("neg_phase", sa.Integer(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("epochs_requested", sa.Integer(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat", sa.DateTime(timezone=True), nullable=True),
        sa.Column("token", sa.String(32), nullable=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("pid_started", sa.Double(), nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("best_accuracy", sa.Double(), nullable=True),
        sa.Column("final_accuracy", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'interrupted', 'failed', 'stale', 'superseded')",
            name=op.f("ck_run_status"),
        ),
    )
    current = sa.text("status <> 'superseded'")
    op.create_index("uq_run_key_current", "run", ["key"], unique=True, sqlite_where=current)
    op.create_index("ix_run_status", "run", ["status"])
    op.create_index("ix_run_started", "run", ["started"])
    op.create_table(
        "epoch",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("validation_accuracy", sa.Double(), nullable=True),
        sa.Column("loss_positive", sa.Double(), nullable=True),
        sa.Column("loss_negative", sa.Double(), nullable=True),
        sa.Column("goodness_positive", sa.JSON(), nullable=True),
        sa.Column("goodness_negative", sa.JSON(), nullable=True),
        sa.Column("dead_units", sa.JSON(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "epoch", name=op.f("pk_epoch")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_epoch_run_id_run"), ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("epoch")
    op.drop_table("run")
