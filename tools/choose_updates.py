"""Compare time-scaled runs with `paper@1` and choose the updates per batch of `scaled@1` (docs/reproduction.md).

    python tools/choose_updates.py results/calibration.db docs/reproduction.md

The database holds the runs that docs/reproduction.md names. Writes a table of D(U, cell) and S(cell) into the page.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from write_study import put

from ffcli.config import RunConfig
from ffcli.store.database import open_to_read
from ffcli.store.runs import epochs, list_runs

TOOL = Path(__file__).name
EPOCHS = range(1, 9)
PRECISION = "bf16"
SEEDS = 3
PAPER_UPDATES = 50
MIN_SPREAD = 1.0
"""Points: a difference that small is never too large."""

Curve = list[float]
"""Accuracy on the held-out images after each epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    put(distances(arguments.database), arguments.page, TOOL)


def distances(database: Path) -> str:
    """Return the table of S(cell) and D(U, cell), for each U whose runs are complete."""
    curves = read_curves(database)
    cells = sorted(curves)
    measured = {u for by_updates in curves.values() for u in by_updates} - {PAPER_UPDATES}
    updates = sorted(u for u in measured if all(len(curves[cell].get(u, [])) == SEEDS for cell in cells))
    rows = [[spread(curves[cell][PAPER_UPDATES]), *(distance(curves[cell], u) for u in updates)] for cell in cells]
    means = [fmean(column) for column in zip(*rows, strict=True)]
    lines = [
        ["cell", "S", *(f"U = {u}" for u in updates)],
        ["---", *["---:"] * (1 + len(updates))],
        *([cell, *map(_points, row)] for cell, row in zip([*cells, "mean"], [*rows, means], strict=True)),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read_curves(database: Path) -> Mapping[str, Mapping[int, Sequence[Curve]]]:
    """Return the curves of the runs of each cell by updates per batch."""
    curves: dict[str, dict[int, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    with open_to_read(database) as store:
        for run in sorted(list_runs(store), key=lambda run: run.config.seed):
            measured = {e.epoch: e.validation_accuracy for e in epochs(store, run.id)}
            curve = [value for epoch in EPOCHS if (value := measured.get(epoch)) is not None]
            if len(curve) == len(EPOCHS) and run.config.precision == PRECISION:
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


def _points(value: float) -> str:
    return f"{value:.1f}"


def mean_curve(curves: Sequence[Curve]) -> Curve:
    return [fmean(values) for values in zip(*curves, strict=True)]


if __name__ == "__main__":
    main()
