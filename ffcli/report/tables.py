"""From records to cells: the paper's two tables, filled with what was measured under one protocol.

A cell is the mean over the seeds of the runs that got as far as the table's horizon; shorter runs are named, never
counted. A run that never left chance has not learned: its number is kept beside that fact.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Literal, NamedTuple

from ffcli.config import ALGORITHM_VERSION, DataRef, Schedule
from ffcli.published import tables as paper_tables
from ffcli.records import Outcome, RunRecord
from ffcli.report import DEFAULT_PRESET, Protocol, by_signature, command_for, plan

Metric = Literal["final", "best", "last5"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of one cell gave. Accuracies in percent; None where there is no number."""

    runs: int = 0
    """Runs counted: those that got as far as the table's horizon."""
    mean: float | None = None
    std: float | None = None
    """Sample deviation over the seeds; None for fewer than two runs."""
    learned: bool | None = None
    """Whether any of the runs ever left chance; None without runs."""
    seeds: tuple[int, ...] = ()
    short: str | None = None
    """Where no run is counted, how far the longest has got: `7/20 ep`, or `failed`."""
    running: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One schedule of one row: measured, and as the paper printed it."""

    schedule: Schedule
    measured: Measured
    published: float | None
    published_learned: bool | None
    """False is the paper's "-"; None where the paper has no such cell."""

    @property
    def difference(self) -> float | None:
        """Measured less published, in points."""
        mean = self.measured.mean
        return None if mean is None or self.published is None else mean - self.published


@dataclass(frozen=True, slots=True)
class Row:
    """One data set under one kind of negatives."""

    dataset: str
    """Its name; with a short fingerprint where the table has another data set of that name."""
    negatives: str
    fingerprint: str | None
    """None where nothing was measured."""
    source: str
    """What `ff train --dataset` takes: the name, or a path."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One of the paper's tables (1: balanced phases, 2: n awake hours to one asleep) under one protocol."""

    number: int
    protocol: Protocol
    metric: Metric
    epochs: int
    """The horizon: every run is read after this many epochs."""
    schedules: tuple[Schedule, ...]
    rows: tuple[Row, ...]
    """Each with a cell for each of `schedules`."""
    others: tuple[Row, ...]
    """Measured schedules that neither table has; given with the last of a protocol's tables."""

    @property
    def seeds(self) -> list[int]:
        """Seeds of all the runs counted."""
        return sorted({seed for row in self.rows for cell in row.cells for seed in cell.measured.seeds})

    @property
    def missing(self) -> list[tuple[Row, Cell]]:
        """Cells without a run that counts or is under way."""
        cells = [(row, cell) for row in self.rows for cell in row.cells]
        return [(row, cell) for row, cell in cells if not cell.measured.runs and not cell.measured.running]

    @property
    def next_command(self) -> str | None:
        """The command that fills the first missing cell; None where no cell is missing, or where an earlier version
        of the algorithm made the table."""
        if not self.missing or self.protocol.algorithm_version != ALGORITHM_VERSION:
            return None
        row, cell = self.missing[0]
        return command_for(self.protocol, row.source, row.negatives, cell.schedule, self.epochs)


def draw(
    records: Collection[RunRecord],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    *,
    default: Protocol,
    metric: Metric = "final",
    epochs: int | None = None,
    numbers: Sequence[int] = (1, 2),
    published: bool = True,
) -> list[Table]:
    """The tables `numbers` of every protocol in `records`, or of `default` where there are no records.

    `outcomes_at` gives what runs had reached at a horizon of epochs; those of other runs than `records` are ignored.
    """
    kept = {run.id for run in records}
    read = cache(lambda horizon: by_signature(o for o in outcomes_at(horizon) if o.run.id in kept))
    tables = []
    for protocol, horizon in plan(records, epochs):
        tables += build(protocol, horizon, read(horizon)[protocol.signature], metric, numbers, published)
    if not tables:
        horizon = epochs or (default.preset or DEFAULT_PRESET).epochs
        tables = build(default, horizon, [], metric, numbers, published)
    return tables


def build(
    protocol: Protocol,
    epochs: int,
    outcomes: Iterable[Outcome],
    metric: Metric = "final",
    numbers: Sequence[int] = (1, 2),
    published: bool = True,
) -> list[Table]:
    """The tables `numbers` of one protocol from what runs had reached after `epochs`.

    `outcomes` are of runs with the protocol's signature; those that do not fit it are left out. Without `published`
    the paper's figures are left out too.
    """
    admitted = _admitted(protocol, outcomes)
    measured = {place: _reduce(runs.values(), metric, epochs) for place, runs in admitted.items()}
    rows = _rows(admitted)
    tables = []
    for number in numbers:
        schedules = _schedules(number, {place.schedule for place in measured})
        figures = paper_tables()[number].rows if published else {}
        filled = tuple(_fill(row, schedules, measured, figures) for row in rows)
        others = _others(rows, measured) if number == numbers[-1] else ()
        tables.append(Table(number, protocol, metric, epochs, schedules, filled, others))
    return tables


class _Place(NamedTuple):
    dataset: str
    fingerprint: str
    negatives: str
    schedule: tuple[int, int]


class _Head(NamedTuple):
    dataset: str
    fingerprint: str | None
    negatives: str
    label: str
    source: str
    in_paper: bool


def _admitted(protocol: Protocol, outcomes: Iterable[Outcome]) -> dict[_Place, dict[str, Outcome]]:
    """The protocol's runs by their place and key; of several under one key (one failed, say) the one that got on."""
    places: dict[_Place, dict[str, Outcome]] = defaultdict(dict)
    for outcome in outcomes:
        config = outcome.run.config
        if protocol.fits(config):
            data, schedule = config.data, config.schedule
            place = _Place(data.name, data.fingerprint, config.negatives, (schedule.positive, schedule.negative))
            runs = places[place]
            rival = runs.get(outcome.run.key)
            if rival is None or rival.reached <= outcome.reached:
                runs[outcome.run.key] = outcome
    return places


def _reduce(outcomes: Collection[Outcome], metric: Metric, epochs: int) -> Measured:
    counted = [(o, value) for o in outcomes if o.reached >= epochs and (value := getattr(o, metric)) is not None]
    running = any(o.run.status == "running" for o in outcomes)
    if not counted:
        return Measured(short=_progress(outcomes, epochs), running=running)
    values = [value for _, value in counted]
    mean = fmean(values)
    return Measured(
        runs=len(values),
        mean=mean,
        std=math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None,
        learned=any(o.learned for o, _ in counted),
        seeds=tuple(o.run.config.seed for o, _ in counted),
        running=running,
    )


def _progress(outcomes: Collection[Outcome], epochs: int) -> str:
    longest = max(outcomes, key=lambda o: o.reached)
    if longest.run.status == "failed":
        return "failed"
    return f"{longest.reached}/{epochs} ep" if longest.reached < epochs else "not evaluated"


def _rows(admitted: Mapping[_Place, Mapping[str, Outcome]]) -> list[_Head]:
    """The paper's rows in its order, once for each content measured under that name, then the other data sets."""
    data = {place[:2]: _data(runs) for place, runs in admitted.items()}
    measured = sorted({place[:3] for place in admitted})
    heads: dict[tuple[str, str | None, str], bool] = {}
    for name, negatives in paper_tables()[1].rows:
        known = sorted(key for (n, key), ref in data.items() if n == name and ref.source != "file")
        for fingerprint in known or (None,):
            heads[name, fingerprint, negatives] = True
    heads |= {head: False for head in measured if head not in heads}
    names = Counter(name for name, _ in {head[:2] for head in heads})
    return [
        _Head(
            name,
            key,
            negatives,
            label=f"{name} {key[:8]}" if key and names[name] > 1 else name,
            source=(key and data[name, key].path) or name,
            in_paper=in_paper,
        )
        for (name, key, negatives), in_paper in heads.items()
    ]


def _data(runs: Mapping[str, Outcome]) -> DataRef:
    return next(iter(runs.values())).run.config.data


def _schedules(number: int, measured: Iterable[tuple[int, int]]) -> tuple[Schedule, ...]:
    """The paper's columns and the measured ones of the same kind, by length."""
    columns = {(s.positive, s.negative) for s in paper_tables()[number].schedules}
    columns |= {schedule for schedule in measured if _kind(number, *schedule)}
    return tuple(Schedule(positive=p, negative=n) for p, n in sorted(columns))


def _kind(number: int, positive: int, negative: int) -> bool:
    """Whether table `number` is about such schedules. The paper prints unseparated ones in both."""
    return positive == negative if number == 1 else negative == 1


def _fill(
    head: _Head,
    schedules: Iterable[Schedule],
    measured: Mapping[_Place, Measured],
    figures: Mapping[tuple[str, str], Mapping[Schedule, float | None]],
) -> Row:
    printed = figures.get((head.dataset, head.negatives), {}) if head.in_paper else {}
    cells = []
    for schedule in schedules:
        place = _Place(head.dataset, head.fingerprint or "", head.negatives, (schedule.positive, schedule.negative))
        figure = printed.get(schedule)
        learned = figure is not None if schedule in printed else None
        cells.append(Cell(schedule, measured.get(place, Measured()), figure, learned))
    return Row(head.label, head.negatives, head.fingerprint, head.source, tuple(cells))


def _others(heads: Iterable[_Head], measured: Mapping[_Place, Measured]) -> tuple[Row, ...]:
    rows = []
    for head in heads:
        own = sorted(place.schedule for place in measured if place[:3] == head[:3])
        odd = [Schedule(positive=p, negative=n) for p, n in own if not (_kind(1, p, n) or _kind(2, p, n))]
        if odd:
            rows.append(_fill(head, odd, measured, {}))
    return tuple(rows)
