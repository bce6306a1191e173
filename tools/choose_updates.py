"""Compare time-scaled runs with `paper@1` and choose the updates per batch of `scaled@1` (docs/reproduction.md).

    python tools/choose_updates.py results/calibration.db

The database holds the runs that docs/reproduction.md names. Prints a Markdown table of D(U, cell) and S(cell).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from ffcli.config import RunConfig
from ffcli.store.database import open_to_read
from ffcli.store.runs import epochs, list_runs

EPOCHS = range(1, 9)
PAPER_UPDATES = 50
MIN_SPREAD = 1.0
"""Points: a difference that small is never too large."""

Curve = list[float]
"""Accuracy on the held-out images after each epoch."""


def main(database: str) -> None:
    curves = read_curves(database)
    cells = [cell for cell, by_updates in curves.items() if len(by_updates.get(PAPER_UPDATES, [])) == 2]
    updates = sorted({u for by_updates in curves.values() for u in by_updates} - {PAPER_UPDATES})
    print("| cell | S | " + " | ".join(f"U = {u}" for u in updates) + " |\n|---|---|" + "---|" * len(updates))
    rows = [[spread(curves[cell][PAPER_UPDATES]), *(distance(curves[cell], u) for u in updates)] for cell in cells]
    for cell, row in zip(cells, rows, strict=True):
        print(f"| {cell} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    means = [fmean(column) for column in zip(*rows, strict=True)]
    print("| mean | " + " | ".join(f"{value:.1f}" for value in means) + " |")


def read_curves(database: str) -> Mapping[str, Mapping[int, Sequence[Curve]]]:
    """Return the curves of the runs of each cell by updates per batch."""
    curves: dict[str, dict[int, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    with open_to_read(database) as store:
        for run in sorted(list_runs(store), key=lambda run: run.config.seed):
            measured = {e.epoch: e.validation_accuracy for e in epochs(store, run.id)}
            curve = [value for epoch in EPOCHS if (value := measured.get(epoch)) is not None]
            if len(curve) == len(EPOCHS):
                curves[name(run.config)][run.config.updates_per_batch].append(curve)
    return curves


def name(config: RunConfig) -> str:
    return f"{config.data.name} {config.negatives} {config.schedule}"


def spread(curves: Sequence[Curve]) -> float:
    """Return S: the mean difference between two runs of `paper@1`."""
    one, other = curves
    return max(MIN_SPREAD, fmean(abs(a - b) for a, b in zip(one, other, strict=True)))


def distance(curves: Mapping[int, Sequence[Curve]], updates: int) -> float:
    """Return D: the mean difference between the mean curves of U = `updates` and of `paper@1`."""
    ours, paper = (mean_curve(curves[u]) for u in (updates, PAPER_UPDATES))
    return fmean(abs(a - b) for a, b in zip(ours, paper, strict=True))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    return [fmean(values) for values in zip(*curves, strict=True)]


if __name__ == "__main__":
    main(*sys.argv[1:])
