"""Compare time-scaled runs with `paper@1` and choose the updates per batch of `scaled@1` (docs/reproduction.md).

    python tools/choose_updates.py results/calibration.db docs/reproduction.md docs/updates.svg

The database holds the runs that docs/reproduction.md names. Writes a table of D(U, cell) and S(cell) into the page, and
draws the curves.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from write_study import markdown, put

from ffcli.config import RunConfig
from ffcli.plots.style import LIGHT_GREY, LOOKS, finish_grid, labelled, legend_below, make_figure, styled
from ffcli.store.database import open_to_read
from ffcli.store.runs import epochs, list_runs

TOOL = Path(__file__).name
EPOCHS = range(1, 9)
PRECISION, REFERENCE = "bf16", "float32"
CHOSEN = 5
"""The updates per batch for which both precisions are compared."""
SEEDS = 3
PAPER_UPDATES = 50
MULTIPLES = (1, 2, 3, 5, 10)
MIN_SPREAD = 1.0
"""Points: a difference that small is never too large."""

Curve = list[float]
"""Accuracy on the held-out images after each epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("figure", type=Path)
    arguments = parser.parse_args()
    put(written_tables(arguments.database), arguments.page, TOOL)
    with styled():
        draw(read_curves(arguments.database)).savefig(arguments.figure, metadata={"Date": None})


def written_tables(database: Path) -> str:
    """Return both tables, of D and of precisions, with a sentence between them."""
    sentence = f"Mean difference between {REFERENCE} and {PRECISION} for U = {CHOSEN}, three seeds each:"
    return "\n\n".join([distances(database), sentence, precisions(database)])


def precisions(database: Path) -> str:
    """Return a table of S and of the distance between the precisions, for each cell."""
    curves, reference = read_curves(database), read_curves(database, REFERENCE)
    lines = [["cell", "S", "difference"], ["---", "---:", "---:"]]
    for cell in sorted(curves):
        both = curves[cell][CHOSEN], reference.get(cell, {}).get(CHOSEN, [])
        if all(len(runs) == SEEDS for runs in both):
            lines.append([cell, _points(spread(curves[cell][PAPER_UPDATES])), _points(between(*both))])
    return markdown(lines)


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
    return markdown(lines)


def read_curves(database: Path, precision: str = PRECISION) -> Mapping[str, Mapping[int, Sequence[Curve]]]:
    """Return the curves of the runs of each cell by updates per batch."""
    curves: dict[str, dict[int, list[Curve]]] = defaultdict(lambda: defaultdict(list))
    with open_to_read(database) as store:
        for run in sorted(list_runs(store), key=lambda run: run.config.seed):
            measured = {e.epoch: e.validation_accuracy for e in epochs(store, run.id)}
            curve = [value for epoch in EPOCHS if (value := measured.get(epoch)) is not None]
            if len(curve) == len(EPOCHS) and run.config.precision == precision:
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
    return between(curves[updates], curves[PAPER_UPDATES])


def between(ours: Sequence[Curve], others: Sequence[Curve]) -> float:
    """Return the mean difference between two mean curves."""
    return fmean(abs(a - b) for a, b in zip(mean_curve(ours), mean_curve(others), strict=True))


def _points(value: float) -> str:
    return f"{value:.1f}"


def draw(curves: Mapping[str, Mapping[int, Sequence[Curve]]]) -> Figure:
    """Return a figure with a panel for each cell: the mean curves, and the range of `paper@1` over its seeds."""
    figure = make_figure(5.6, "means over 3 seeds of time-scaled Adam and 2 seeds of paper@1; held-out images")
    axes = figure.subplots(3, 2, sharex=True).flatten()
    for axis, cell in zip(axes, sorted(curves), strict=False):
        paper = curves[cell][PAPER_UPDATES]
        axis.fill_between(EPOCHS, *(list(map(f, *paper)) for f in (min, max)), color=LIGHT_GREY, alpha=0.5, linewidth=0)
        for look, updates in zip(LOOKS, (PAPER_UPDATES, *MULTIPLES), strict=False):
            runs = curves[cell].get(updates, [])
            if len(runs) == SEEDS or updates == PAPER_UPDATES:
                label = "paper@1 (U = 50), range over seeds" if updates == PAPER_UPDATES else f"U = {updates}"
                axis.plot(EPOCHS, mean_curve(runs), **look._asdict(), label=label)
        axis.set_title(cell)
        axis.set_xticks(EPOCHS)
        axis.grid(alpha=0.3)
    finish_grid(axes, len(curves), 2, "epoch", "accuracy in %")
    legend_below(figure, labelled(axes[: len(curves)]), columns=3)
    return figure


def mean_curve(curves: Sequence[Curve]) -> Curve:
    return [fmean(values) for values in zip(*curves, strict=True)]


if __name__ == "__main__":
    main()
