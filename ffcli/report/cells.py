"""Cells of a table: means over the seeds, and their text.

A mean counts the runs that reached the horizon of the table; shorter runs are shown but not counted. Runs of one seed
on several devices start from the same weights, so their mean counts as one value of that seed. A cell whose runs
never left chance is shown as a dash, but keeps its number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

from ffcli.choices import Metric
from ffcli.config import Device, RunConfig
from ffcli.records import LAST_EPOCHS, Outcome
from ffcli.report.colours import Role
from ffcli.report.sheet import NOT_LEARNED, NOT_RUN, OUTSIDE, TIMES
from ffcli.schedule import Schedule
from ffcli.text import consecutive, counted, named

DATA = {"full": "full data", "sample": "the sample that ships with ffcli, not the full data"}
"""Words for each kind of data."""

MAX_RANGES = 6
"""Ranges of seeds that a caption lists; with more it counts the seeds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of one cell reached. Accuracies in percent; None if there is no number."""

    runs: int = 0
    """Number of runs counted: those that reached the table's horizon."""
    mean: float | None = None
    std: float | None = None
    """Sample standard deviation over the seeds; None for fewer than two."""
    learned: bool | None = None
    """Whether any of the runs ever left chance; None without runs."""
    seeds: tuple[int, ...] = ()
    """Seeds of the runs counted, each once."""
    devices: tuple[Device, ...] = ()
    short: str | None = None
    """Progress of the longest run if no run is counted: `7/20 ep`, or `failed`."""
    running: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Measured and published accuracy for one combination of dataset, negatives and schedule."""

    schedule: Schedule
    measured: Measured
    published: float | None
    published_learned: bool | None
    """False is the paper's "-"; None if the paper has no such cell."""

    @property
    def difference(self) -> float | None:
        """Measured minus published, in percentage points."""
        mean = self.measured.mean
        return None if mean is None or self.published is None else mean - self.published

    @property
    def within_spread(self) -> bool | None:
        """Whether |measured - published| is at most the seeds' sample standard deviation.

        None for fewer than two seeds, or if the paper has no figure.
        """
        std = self.measured.std
        return None if std is None or self.difference is None else abs(self.difference) <= std


@dataclass(frozen=True, slots=True)
class TableRow:
    """One dataset with one kind of negatives, in all schedules of a table."""

    dataset: str
    """Its name; with a short fingerprint if the table has another dataset of that name."""
    negatives: str
    fingerprint: str | None
    """None if nothing was measured."""
    source: str
    """What `ff train --dataset` takes: the name, or a path."""
    cells: tuple[Cell, ...]


class Place(NamedTuple):
    """The place of a run in the tables."""

    dataset: str
    fingerprint: str
    negatives: str
    schedule: tuple[int, int]


def place_of(config: RunConfig) -> Place:
    """Return the place of a run with this configuration."""
    data, schedule = config.data, config.schedule
    return Place(data.name, data.fingerprint, config.negatives, (schedule.positive, schedule.negative))


def by_key(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """Return outcomes by the key of their run; if several runs have the same key, the longest one counts."""
    runs: dict[str, Outcome] = {}
    for outcome in outcomes:
        rival = runs.get(outcome.run.key)
        if rival is None or rival.reached <= outcome.reached:
            runs[outcome.run.key] = outcome
    return runs


def reduce_runs(outcomes: Collection[Outcome], metric: Metric, epochs: int) -> Measured:
    """Return the mean, spread and progress of the runs of a cell.

    Args:
        outcomes: outcomes of the runs of the cell at the horizon, at least one.
        metric: the accuracy to average.
        epochs: the horizon; shorter runs are not counted.
    """
    finished = [(o, value) for o in outcomes if o.reached >= epochs and (value := getattr(o, metric)) is not None]
    running = any(o.run.status == "running" for o in outcomes)
    if not finished:
        return Measured(short=_progress(outcomes, epochs), running=running)
    by_seed = mean_by_seed((outcome.run.config.seed, accuracy) for outcome, accuracy in finished)
    values = by_seed.values()
    return Measured(
        runs=len(finished),
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        learned=any(o.learned for o, _ in finished),
        seeds=tuple(sorted(by_seed)),
        devices=tuple(sorted({o.run.config.device for o, _ in finished})),
        running=running,
    )


def mean_by_seed(runs: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Return one accuracy for each seed: the mean of its runs, given as pairs of seed and accuracy."""
    accuracies: dict[int, list[float]] = defaultdict(list)
    for seed, accuracy in runs:
        accuracies[seed].append(accuracy)
    return {seed: fmean(of_seed) for seed, of_seed in accuracies.items()}


def _progress(outcomes: Collection[Outcome], epochs: int) -> str:
    longest = max(outcomes, key=lambda o: o.reached)
    if longest.run.status == "failed":
        return "failed"
    return f"{longest.reached}/{epochs} ep" if longest.reached < epochs else "not evaluated"


# Words


def value(cell: Cell) -> str:
    """Return `87.3`; a dash if no run left chance; `7/20 ep` for runs that are too short; `·` without runs."""
    if cell.measured.mean is None:
        return cell.measured.short or NOT_RUN
    return f"{cell.measured.mean:.1f}" if cell.measured.learned else NOT_LEARNED


def value_role(cell: Cell) -> Role:
    """Return the role of `value`."""
    return "measured" if cell.measured.runs else "unfinished" if cell.measured.short else "absent"


def spread(cell: Cell) -> str:
    """Return `±0.4` and the number of seeds, or an empty text for fewer than two."""
    return "" if cell.measured.std is None else f"±{cell.measured.std:.1f} {TIMES}{len(cell.measured.seeds)}"


def spread_beside_paper(cell: Cell) -> str:
    """Return `spread`, marked if the paper's figure is outside it."""
    mark = OUTSIDE if cell.within_spread is False else ""
    return spread(cell).replace(" ", f"{mark} ")


def published(cell: Cell) -> str:
    """Return the paper's figure as printed (also "-"), or an empty text if there is none."""
    if cell.published is None:
        return NOT_LEARNED if cell.published_learned is False else ""
    return f"{cell.published:g}"


def signs(cells: Collection[Cell], values: Collection[str]) -> Iterator[str]:
    """Yield an explanation of each sign that occurs in the cells; `values` are the results of `value` for them."""
    if any(map(spread, cells)):
        yield f"± sample standard deviation, {TIMES} seeds"
    if NOT_LEARNED in values or any(published(cell) == NOT_LEARNED for cell in cells):
        yield f"{NOT_LEARNED} never left chance"
    if any(cell.measured.short for cell in cells):
        yield "n/N ep: epochs so far"
    if NOT_RUN in values:
        yield f"{NOT_RUN} not run"


def metric_words(metric: Metric, horizon: int, *, shortest: int | None = None, held_out: bool) -> str:
    """Return a description of the numbers in a table.

    Args:
        metric: the accuracy shown.
        horizon: epochs after which runs are read.
        shortest: the smallest horizon, if cells differ; `horizon` is then the largest.
        held_out: whether held-out images chose the best epoch.
    """
    epochs = counted(horizon, "epoch")
    if shortest not in (None, horizon):
        epochs = f"{shortest} to {epochs}"
    if metric == "final":
        return f"final test accuracy in % after {epochs}"
    if metric == "last5":
        return f"mean test accuracy in % of the last {LAST_EPOCHS} evaluations within {epochs}"
    if held_out:
        return f"test accuracy in % at the best epoch by held-out images within {epochs}"
    return f"best accuracy in % on the test set itself within {epochs}"


def runs_words(cells: Iterable[Cell]) -> str:
    """Return seeds and devices of the runs counted in these cells: `seeds 0-2 · cpu, cuda`; empty without any."""
    measured = [cell.measured for cell in cells]
    seeds = sorted({seed for each in measured for seed in each.seeds})
    devices = sorted({device for each in measured for device in each.devices})
    return " · ".join(filter(None, (seeds_words(seeds), ", ".join(devices))))


def seeds_words(seeds: Sequence[int]) -> str:
    """Return sorted seeds in words: `seed 0`, `seeds 0-2`, `seeds 0, 2, 5`; empty without any."""
    if len(consecutive(seeds)) > MAX_RANGES:
        return counted(len(seeds), "seed")
    return named("seed", seeds).replace(",", ", ") if seeds else ""
