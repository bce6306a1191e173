"""Indices for `ff list-runs`, which reads the newest runs in order, and for `ff report`, which reads accuracies alone:
the rows of epochs are seven times as large."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_index("ix_run_started", "run")
    op.create_index("ix_run_started", "run", ["started", "id"])
    op.create_index("ix_epoch_accuracy", "epoch", ["run_id", "epoch", "accuracy", "validation_accuracy"])


def downgrade() -> None:
    op.drop_index("ix_epoch_accuracy", "epoch")
    op.drop_index("ix_run_started", "run")
    op.create_index("ix_run_started", "run", ["started"])
