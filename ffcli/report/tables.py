"""The paper's two tables, filled with what was measured under one protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from ffcli.choices import Metric
from ffcli.config import ALGORITHM_VERSION, DEFAULT_PRESET, DataRef
from ffcli.published import tables as paper_tables
from ffcli.records import Outcome, RunSummary
from ffcli.report.cells import Cell, Measured, Place, Row, admitted_runs, reduce_runs
from ffcli.report.command import command_for
from ffcli.report.plan import by_signature, plan
from ffcli.report.protocol import Protocol
from ffcli.schedule import Schedule


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
    runs: Iterable[RunSummary],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    *,
    default: Protocol,
    metric: Metric = "final",
    epochs: int | None = None,
    numbers: Sequence[int] = (1, 2),
    published: bool = True,
) -> list[Table]:
    """The tables `numbers` of every protocol of `runs`, or of `default` where there are none.

    `outcomes_at` gives what runs had reached at a horizon of epochs; those of other runs are ignored.
    """
    groups = by_signature(runs)
    read = cache(lambda horizon: {outcome.run.id: outcome for outcome in outcomes_at(horizon)})
    tables = []
    for protocol, horizon in plan(groups, epochs):
        reached = read(horizon)
        outcomes = [reached[run.id] for run in groups[protocol.signature] if run.id in reached]
        tables += build(protocol, horizon, outcomes, metric, numbers, published)
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
    admitted = admitted_runs(protocol, outcomes)
    measured = {place: reduce_runs(runs.values(), metric, epochs) for place, runs in admitted.items()}
    rows = _rows(admitted)
    tables = []
    for number in numbers:
        schedules = _schedules(number, {place.schedule for place in measured})
        figures = paper_tables()[number].rows if published else {}
        filled = tuple(_fill(row, schedules, measured, figures) for row in rows)
        others = _others(rows, measured) if number == numbers[-1] else ()
        tables.append(Table(number, protocol, metric, epochs, schedules, filled, others))
    return tables


class _Head(NamedTuple):
    dataset: str
    fingerprint: str | None
    negatives: str
    label: str
    source: str
    in_paper: bool


def _rows(admitted: Mapping[Place, Mapping[str, Outcome]]) -> list[_Head]:
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
    measured: Mapping[Place, Measured],
    figures: Mapping[tuple[str, str], Mapping[Schedule, float | None]],
) -> Row:
    printed = figures.get((head.dataset, head.negatives), {}) if head.in_paper else {}
    cells = []
    for schedule in schedules:
        place = Place(head.dataset, head.fingerprint or "", head.negatives, (schedule.positive, schedule.negative))
        figure = printed.get(schedule)
        learned = figure is not None if schedule in printed else None
        cells.append(Cell(schedule, measured.get(place, Measured()), figure, learned))
    return Row(head.label, head.negatives, head.fingerprint, head.source, tuple(cells))


def _others(heads: Iterable[_Head], measured: Mapping[Place, Measured]) -> tuple[Row, ...]:
    rows = []
    for head in heads:
        own = sorted(place.schedule for place in measured if place[:3] == head[:3])
        odd = [Schedule(positive=p, negative=n) for p, n in own if not (_kind(1, p, n) or _kind(2, p, n))]
        if odd:
            rows.append(_fill(head, odd, measured, {}))
    return tuple(rows)
