"""Write the state of the study with `scaled@1` into docs/reproduction.md.

    python tools/write_reproduction.py results/scaled.db results/study.db docs/reproduction.md
    python tools/write_reproduction.py results/scaled.db results/study.db docs/reproduction.md --figures docs

Writes how many cells are complete, the tables of `ff report`, their agreement by row, the margin of masks over wrong
labels, also in the study with the default preset, and the accuracy of each run by epoch. With `--figures` it also draws
the accuracy by hour, and the dead units of each layer in both studies.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.figure import Figure
from scipy.stats import t, ttest_ind  # type: ignore[import-untyped]
from write_study import markdown, published, put, study_tables

from ffcli.choices import Metric
from ffcli.config import PRESETS
from ffcli.plots.style import LOOKS, accuracy_axis, finish_grid, labelled, legend_below, make_figure, styled
from ffcli.published import cell, tables
from ffcli.records import EpochMetrics, RunRecord
from ffcli.report.agreement import Agreement, agreement
from ffcli.report.cells import mean_by_seed
from ffcli.report.protocol import default_protocol
from ffcli.report.tables import draw_tables
from ffcli.schedule import Schedule
from ffcli.store.database import open_to_read
from ffcli.store.outcomes import outcomes, summaries
from ffcli.store.runs import Filters, epochs, list_runs
from ffcli.text import counted

TOOL = Path(__file__).name
PRESET = PRESETS["scaled@1"]
DATASETS = ("mnist", "fashion")
AGREEMENT = (
    "Agreement by row, of the final accuracy and of the best epoch: mean absolute difference to the paper in points,"
    " and Spearman's correlation:"
)
MARGIN = "Accuracy with masks minus accuracy with wrong labels, in points:"
MARGIN_OF_STUDY = (
    "The same with the default preset (20 epochs, seeds 0 to 2, ± 95 % interval of Welch's t if the seeds differ):"
)
LONG = 4
"""Hours from which a positive phase is long: there masks are ahead of wrong labels in the paper."""
METRICS: tuple[Metric, ...] = ("final", "best")
EPOCHS = (50, 100, 200, 300, 400, 500)
"""Epochs whose accuracy is listed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("study", type=Path, help="the study with the default preset")
    parser.add_argument("page", type=Path)
    parser.add_argument("--figures", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    put(state(arguments.database, arguments.study), arguments.page, TOOL)
    if arguments.figures:
        with styled():
            curves = draw_curves(arguments.database)
            units = draw_dead_units([arguments.study, arguments.database])
            curves.savefig(arguments.figures / "curves.svg", metadata={"Date": None})
            units.savefig(arguments.figures / "dead-units.svg", metadata={"Date": None})


def state(database: Path, study: Path) -> str:
    """Return coverage, tables, margins and accuracy by epoch in Markdown."""
    with open_to_read(database) as store:
        runs = [(run, epochs(store, run.id)) for run in list_runs(store, Filters(preset=PRESET.label, sort="oldest"))]
    complete = [run for run, _ in runs if run.epochs_done >= PRESET.epochs]
    cells = len({_place(run) for run in complete})
    coverage = f"{counted(len(complete), 'run')} of {PRESET.epochs} epochs, in {cells} of {number_of_cells()} cells."
    with open_to_read(study) as store:
        of_study = list_runs(store)
    return "\n\n".join(
        [
            coverage,
            study_tables(database),
            *(AGREEMENT, by_row(database)),
            *(MARGIN, margins(complete)),
            *(MARGIN_OF_STUDY, margins(of_study)),
            *("Accuracy by epoch:", by_epoch(runs)),
        ]
    )


def number_of_cells() -> int:
    return len({(*row, s) for table in tables().values() for row, line in table.rows.items() for s in line})


def by_row(database: Path) -> str:
    """Return a table of the agreement of each row with the paper, for the final accuracy and for the best epoch."""
    with open_to_read(database) as store:
        runs = summaries(store)
        read, default = partial(outcomes, store, runs=runs), default_protocol(PRESET.label)
        final, best = (draw_tables(runs, read, default=default, metric=metric) for metric in METRICS)
    lines = [["table", "row", "cells", "final", "best", "correlation, final", "best"], ["---:", "---", *["---:"] * 5]]
    for of_final, of_best in zip(final, best, strict=True):
        rows = [(f"{a.dataset} {a.negatives}", [a], [b]) for a, b in zip(of_final.rows, of_best.rows, strict=True)]
        for name, *both in [*rows, ("all", of_final.rows, of_best.rows)]:
            agreed = [found for some in both if (found := agreement(some, "full"))]
            if len(agreed) == len(METRICS):
                differences = [f"{each.mean_absolute_difference:.1f}" for each in agreed]
                correlations = ["" if len(each.rank_correlation) > 1 else _rho(each) for each in agreed]
                lines.append([str(of_final.number), name, str(agreed[0].compared), *differences, *correlations])
    return markdown(lines)


def _rho(agreed: Agreement) -> str:
    rho = agreed.rank_correlation[0].rho
    return "" if rho is None else f"{rho:+.2f}"


def margins(complete: list[RunRecord]) -> str:
    """Return a table of the accuracy with masks minus that with wrong labels, by schedule and dataset, and the mean of
    the long phases of each kind."""
    accuracy = _accuracies(complete)
    lines = [["phases", *(f"{name}{of}" for name in DATASETS for of in ("", ", paper"))], ["---", *["---:"] * 4]]
    long: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for schedule in sorted({s for _, _, s in accuracy}, key=lambda s: (s.negative == s.positive > 1, s.positive)):
        line = []
        for name in DATASETS:
            masks, label = (accuracy.get((name, negatives, schedule), []) for negatives in ("masks", "label"))
            paper = _published_margin(name, schedule)
            line += [_margin(masks, label), "" if paper is None else f"{paper:+z.1f}"]
            if masks and label and paper is not None and schedule.positive >= LONG:
                long["n:1" if schedule.negative == 1 else "n:n"].append((fmean(masks) - fmean(label), paper))
        if line[0] or line[2]:
            lines.append([str(schedule), *line])
    means = [f"{kind} with n from {LONG} on {_mean(pairs)}" for kind, pairs in long.items()]
    return "\n\n".join([markdown(lines), f"Mean and its 95 % interval (Student's t): {'; '.join(means)}."])


def _accuracies(complete: list[RunRecord]) -> dict[tuple[str, str, Schedule], list[float]]:
    """Return the final accuracies of each cell, one for each seed."""
    runs: dict[tuple[str, str, Schedule], list[tuple[int, float]]] = defaultdict(list)
    for run in complete:
        if run.final_accuracy is not None:
            config = run.config
            runs[config.data.name, config.negatives, config.schedule].append((config.seed, run.final_accuracy))
    return {place: list(mean_by_seed(of_place).values()) for place, of_place in runs.items()}


def _margin(masks: list[float], label: list[float]) -> str:
    """Return the difference of the means, with Welch's 95 % interval if both sides have several seeds that differ."""
    if not (masks and label):
        return ""
    difference = f"{fmean(masks) - fmean(label):+z.1f}"
    if min(len(masks), len(label)) < 2 or 0 in (stdev(masks), stdev(label)):
        return difference
    interval = ttest_ind(masks, label, equal_var=False).confidence_interval()
    return f"{difference} ± {(interval.high - interval.low) / 2:.1f}"


def _mean(pairs: list[tuple[float, float]]) -> str:
    """Return the mean of the measured margins with its interval, and that of the published ones."""
    ours, paper = zip(*pairs, strict=True)
    half = t.ppf(0.975, len(ours) - 1) * stdev(ours) / len(ours) ** 0.5
    return f"{fmean(ours):+z.1f} ± {half:.1f} over {len(ours)} cells (paper: {fmean(paper):+z.1f})"


def _published_margin(name: str, schedule: Schedule) -> float | None:
    """Return the published difference, or None if the paper has no such cells; its "-" counts as chance."""
    masks, label = (published(name, negatives, schedule) for negatives in ("masks", "label"))
    return None if masks is None or label is None else masks - label


def draw_curves(database: Path) -> Figure:
    """Return a figure of accuracy against hours in table 2, one panel per dataset: masks solid, wrong labels dashed."""
    figure = make_figure(3.4, f"test accuracy, {PRESET.label}, seed 0, GPU; solid: masks, dashed: wrong labels")
    axes = figure.subplots(1, 2, sharey=True)
    runs = _runs_of_seed_0(database)
    for axis, name in zip(axes, DATASETS, strict=True):
        for length, look in zip((2, 4, 8, 16), LOOKS, strict=False):
            for run, measured in runs:
                config = run.config
                if (config.data.name, config.schedule) == (name, Schedule(positive=length, negative=1)):
                    masks = config.negatives == "masks"
                    points = [(e.hour / 1000, e.accuracy) for e in measured if e.accuracy is not None]
                    line, label = ("-", f"{length}:1") if masks else ("--", None)
                    axis.plot(*zip(*points, strict=True), line, color=look.color, linewidth=1, label=label)
        axis.set_title(name)
        accuracy_axis(axis)
    finish_grid(axes, 2, 2, "thousand hours", "accuracy in %")
    legend_below(figure, labelled(axes), columns=4)
    return figure


def draw_dead_units(databases: list[Path]) -> Figure:
    """Return a figure of the share of dead units in each layer after the last epoch: those inactive on all test images.

    One row of panels per database, one column per dataset and kind of schedule.
    """
    figure = make_figure(4.6, "dead units after the last epoch, seed 0; solid: masks, dashed: wrong labels")
    axes = figure.subplots(len(databases), 4, sharey=True, sharex="col")
    for row, database in zip(axes, databases, strict=True):
        runs = _runs_of_seed_0(database)
        for axis, (name, balanced) in zip(row, product(DATASETS, (False, True)), strict=True):
            for negatives, line in (("masks", "-"), ("label", "--")):
                shares = {
                    run.config.schedule.positive: measured[-1].dead_units
                    for run, measured in runs
                    if (run.config.data.name, run.config.negatives) == (name, negatives)
                    and run.config.schedule.separated
                    and run.config.schedule.negative == (run.config.schedule.positive if balanced else 1)
                }
                lengths = sorted(length for length, units in shares.items() if units)
                for layer, look in enumerate(LOOKS[:3]):
                    values = [100 * units[layer] for length in lengths if (units := shares[length])]
                    label = f"layer {layer + 1}" if line == "-" else None
                    axis.plot(lengths, values, line, color=look.color, marker=look.marker, markersize=3, label=label)
            axis.set_xscale("log", base=2)
            axis.set_xticks(ticks := [1, 4, 16, 128] if balanced else [1, 2, 4, 8, 16], list(map(str, ticks)))
            axis.set_ylim(-3, 103)
            axis.set_title(f"{runs[0][0].config.preset}\n{name} {'n:n' if balanced else 'n:1'}")
    finish_grid(axes.flatten(), axes.size, 4, "n", "dead units in %")
    legend_below(figure, labelled(axes.flatten()), columns=3)
    return figure


def _runs_of_seed_0(database: Path) -> list[tuple[RunRecord, list[EpochMetrics]]]:
    """Return a complete run of seed 0 for each cell with its epochs: the one on the GPU if there are two."""
    with open_to_read(database) as store:
        complete = [run for run in list_runs(store) if run.epochs_done >= run.config.epochs and not run.config.seed]
        chosen = {_place(run): run for run in sorted(complete, key=lambda run: run.config.device)}
        return [(run, epochs(store, run.id)) for run in chosen.values()]


def by_epoch(runs: list[tuple[RunRecord, list[EpochMetrics]]]) -> str:
    """Return a table with one row per run: the paper's figure, the epoch that first reached it, the best epoch, and the
    accuracy after some epochs."""
    lines = [
        ["run", "device", "paper", "reached in", "best", "in", *(f"epoch {epoch}" for epoch in EPOCHS), "epochs"],
        ["---", "---", *["---:"] * (len(EPOCHS) + 5)],
        *(_row(run, measured) for run, measured in runs),
    ]
    return markdown(lines)


def _row(run: RunRecord, measured: list[EpochMetrics]) -> list[str]:
    config = run.config
    accuracy = {e.epoch: e.accuracy for e in measured if e.epoch and e.accuracy is not None}
    found = cell(config.data.name, config.negatives, config.schedule)
    paper = "" if found is None else "-" if found[1] is None else f"{found[1]:g}"
    reached = next((str(e) for e, a in accuracy.items() if found and found[1] is not None and a >= found[1]), "")
    best = max(accuracy, key=accuracy.__getitem__)
    values = ["" if (value := accuracy.get(epoch)) is None else f"{value:.1f}" for epoch in EPOCHS]
    name = f"{' '.join(_place(run))}, seed {config.seed}"
    return [name, config.device, paper, reached, f"{accuracy[best]:.1f}", str(best), *values, str(run.epochs_done)]


def _place(run: RunRecord) -> tuple[str, str, str]:
    config = run.config
    return config.data.name, config.negatives, str(config.schedule)


if __name__ == "__main__":
    main()
