"""Write stored runs for experiment trackers: what all of them receive.

Each tracker has a file, which imports its package in the function that needs it. A run that was written before is
replaced if it has other epochs now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ffcli.records import EpochMetrics, RunRecord
from ffcli.store.export import RUN_COLUMNS, run_values

RunWithEpochs = tuple[RunRecord, list[EpochMetrics]]

_LABELS = ("id", "key", "status", "name", "tags")
"""Columns of a run that are no settings."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an export did."""

    written: int
    """Runs that were written, anew or again."""
    kept: int
    """Runs that were there with the same epochs."""


def parameters(run: RunRecord) -> dict[str, int | float | str]:
    """Return the settings of a run by the names of the CSV export; those without a value are left out."""
    values = dict(zip(RUN_COLUMNS, run_values(run), strict=True))
    return {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in values.items()
        if name not in _LABELS and value is not None
    }


def metrics(epoch: EpochMetrics) -> dict[str, float]:
    """Return the measurements of an epoch by name; what was not measured or is not finite is left out."""
    found: dict[str, float | None] = {"hour": epoch.hour, "seconds": epoch.seconds}
    for name in ("accuracy", "validation_accuracy", "loss_positive", "loss_negative"):
        found[name] = getattr(epoch, name)
    for name in ("goodness_positive", "goodness_negative", "dead_units"):
        found |= {f"{name}_{layer}": value for layer, value in enumerate(getattr(epoch, name) or (), start=1)}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def results(run: RunRecord) -> dict[str, float]:
    """Return the accuracies of a run."""
    found = {"best_accuracy": run.best_accuracy, "final_accuracy": run.final_accuracy}
    return {name: value for name, value in found.items() if value is not None}


def moments(run: RunRecord, epochs: Iterable[EpochMetrics]) -> Iterator[tuple[EpochMetrics, datetime]]:
    """Yield each epoch with its end, which is the start of the run plus the duration of the epochs so far."""
    moment = run.started
    for epoch in epochs:
        moment += timedelta(seconds=epoch.seconds)
        yield epoch, moment


def title(run: RunRecord) -> str:
    """Return a name that tells runs apart in a list: `mnist-masks-4x1-seed0-4914350cdb9e`."""
    config, schedule = run.config, run.config.schedule
    phases = f"{schedule.positive}x{schedule.negative}" if schedule.separated else "unseparated"
    name = f"{config.data.label}-{config.negatives}-{phases}-seed{config.seed}-{run.id[:12]}"
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
