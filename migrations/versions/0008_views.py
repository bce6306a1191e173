"""Create the views `runs`, `epochs` and `cells` for `ff db query` and other programs (docs/analysis.md).

Their columns are stable: a later revision may add columns, and keeps these with their meaning.

DuckDB writes the SQL of a view anew before SQLite runs it, and turns `count(*)` into `count_star()`, which SQLite does
not have; hence `count(id)`.
"""

from alembic import context, op

revision = "0008"
down_revision = "0007"

SETTINGS = {
    "preset": "coalesce(json_extract(settings, '$.preset'), 'custom')",
    "hidden": "json_extract(settings, '$.hidden')",
    "lr": "json_extract(settings, '$.lr')",
    "lr_positive": "json_extract(settings, '$.lr_positive')",
    "lr_negative": "json_extract(settings, '$.lr_negative')",
    "warmup": "coalesce(json_extract(settings, '$.warmup'), 0)",
    "updates_per_batch": "json_extract(settings, '$.updates_per_batch')",
    "batch_size": "json_extract(settings, '$.batch_size')",
    "optimiser": "coalesce(json_extract(settings, '$.optimiser'), 'adam')",
    "beta1": "coalesce(json_extract(settings, '$.beta1'), 0.9)",
    "beta2": "coalesce(json_extract(settings, '$.beta2'), 0.999)",
    "weight_decay": "coalesce(json_extract(settings, '$.weight_decay'), 0.0)",
    "objective": "coalesce(json_extract(settings, '$.objective'), 'mean')",
    "threshold": "json_extract(settings, '$.threshold')",
    "cure": "coalesce(json_extract(settings, '$.cure'), 'none')",
    "mask_blur": "json_extract(settings, '$.mask_blur')",
    "holdout": "json_extract(settings, '$.holdout')",
    "precision": "json_extract(settings, '$.precision')",
    "device": "json_extract(settings, '$.device')",
}
"""Settings of a run; those that were added after the first version have their default in older runs."""

RUNS = f"""
CREATE VIEW runs AS
SELECT
    id, key, name, status, tags, note, dataset, data_source,
    json_extract(settings, '$.data.fingerprint') AS data_fingerprint,
    negatives, pos_phase, neg_phase, seed,
    {", ".join(f"{value} AS {name}" for name, value in SETTINGS.items())},
    epochs_requested, epochs_done, best_accuracy, final_accuracy,
    max(100.0 / json_extract(settings, '$.data.classes'), json_extract(settings, '$.data.largest_class')) AS chance,
    seconds, started, ended, host, failure_kind, failure
FROM (SELECT *, CASE WHEN json_valid(config) THEN config END AS settings FROM run)
"""

EPOCHS = """
CREATE VIEW epochs AS
SELECT
    run_id, epoch, hour, phase, accuracy, validation_accuracy, loss_positive, loss_negative,
    goodness_positive, goodness_negative, dead_units, seconds
FROM epoch
"""

CELL = ("dataset", "data_source", "data_fingerprint", "negatives", "pos_phase", "neg_phase", *SETTINGS, "epochs_done")

CELLS = f"""
CREATE VIEW cells AS
SELECT
    {", ".join(CELL)}, chance,
    count(id) AS runs,
    avg(best_accuracy) AS best_mean, min(best_accuracy) AS best_min, max(best_accuracy) AS best_max,
    avg(final_accuracy) AS final_mean, min(final_accuracy) AS final_min, max(final_accuracy) AS final_max,
    sum(seconds) AS seconds
FROM runs WHERE status = 'completed'
GROUP BY {", ".join(CELL)}, chance
"""


def upgrade() -> None:
    for statement in (RUNS, EPOCHS, CELLS):
        op.execute(statement)


def downgrade() -> None:
    # env.py has dropped the views, and would put them back.
    for name in ("runs", "epochs", "cells"):
        context.config.attributes["views"].pop(name, None)
