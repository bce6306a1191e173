"""The table of cures: accuracy by phase length, plain and under each cure, as far as the cured runs of each cell went.

    plain       without a cure at the preset's rate: what tables 1 and 2 show
    same rate   without a cure at the rate and epochs of the cell's cured runs, so that the rate alone is ruled out
    CURE        `gradient-memory`, `replay:512` and so on

A cell's cured runs and its plain ones at the same rate are read after the same epochs: the most that were asked of a
cured run and reached.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ffcli.choices import Metric
from ffcli.config import DataRef
from ffcli.published import cell as printed_cell
from ffcli.published import tables as paper_tables
from ffcli.records import Outcome, RunSummary
from ffcli.report.cells import Cell, Measured, Place, by_key, place_of, reduce_runs
from ffcli.report.families import Family, families
from ffcli.schedule import Schedule

PLAIN, SAME_RATE = "plain", "same rate"

Members = Mapping[tuple[Place, str], Sequence[RunSummary]]
"""A family's runs by place and line."""


@dataclass(frozen=True, slots=True)
class CureCell(Cell):
    """One schedule of one line."""

    epochs: int | None = None
    """The runs are read after so many; None without runs."""
    runs: tuple[RunSummary, ...] = ()
    """Also those that are shorter, and not counted."""


@dataclass(frozen=True, slots=True)
class CureLine:
    """What one row has without a cure, or under one cure."""

    name: str
    cells: tuple[CureCell, ...]


@dataclass(frozen=True, slots=True)
class CureRow:
    """One data set under one kind of negatives."""

    dataset: str
    """Its name; with a short fingerprint where the table has another data set of that name."""
    negatives: str
    data: DataRef
    chance: float
    """Percent."""
    lines: tuple[CureLine, ...]
    """`plain` and `same rate`, then the cures that the row has."""


@dataclass(frozen=True, slots=True)
class CureTable:
    family: Family
    metric: Metric
    schedules: tuple[Schedule, ...]
    """Those of the cured runs, balanced ones first, behind unseparated for reference where it was trained."""
    rows: tuple[CureRow, ...]
    """Each line with a cell for each of `schedules`."""

    @property
    def cells(self) -> list[tuple[CureRow, CureLine, CureCell]]:
        return [(row, line, cell) for row in self.rows for line in row.lines for cell in line.cells]

    @property
    def cures(self) -> list[str]:
        return sorted({line.name for row in self.rows for line in row.lines} - {PLAIN, SAME_RATE})


def draw(
    runs: Iterable[RunSummary],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    *,
    preset: str | None = None,
    metric: Metric = "final",
    epochs: int | None = None,
    published: bool = True,
) -> list[CureTable]:
    """A table for each family of `runs`, or for those of one preset's updates (a label, or `custom`).

    `outcomes_at` gives what runs had reached at a horizon of epochs. With `epochs` every run is read there; without
    `published` the paper's figures are left out.
    """
    read = cache(lambda horizon: {outcome.run.id: outcome for outcome in outcomes_at(horizon)})
    return [
        _table(family, _members(family, group), read, metric, epochs, published)
        for family, group in families(runs)
        if preset in (None, family.protocol.preset.label if family.protocol.preset else "custom")
    ]


def _members(family: Family, runs: Iterable[RunSummary]) -> Members:
    members: dict[tuple[Place, str], list[RunSummary]] = defaultdict(list)
    for run in runs:
        place = place_of(run.config)
        if family.is_at_presets_rate(run.config):
            members[place, PLAIN].append(run)
        if family.follows(run.config):
            members[place, str(run.config.cure) if run.config.cure else SAME_RATE].append(run)
    return members


def _table(
    family: Family,
    members: Members,
    read: Callable[[int], Mapping[str, Outcome]],
    metric: Metric,
    epochs: int | None,
    published: bool,
) -> CureTable:
    cured = {place: _cured(members, place) for place, line in members if line not in (PLAIN, SAME_RATE)}
    horizons = {place: epochs or _horizon(runs) for place, runs in cured.items()}
    heads = sorted({place[:3] for place in cured}, key=_paper_order)
    phases = {place.schedule for place in cured}
    phases |= {(0, 0) for place, line in members if line == PLAIN and place[:3] in heads and place.schedule == (0, 0)}
    schedules = tuple(Schedule(positive=p, negative=n) for p, n in sorted(phases, key=lambda s: (s[0] != s[1], s)))

    def cell(head: tuple[str, str, str], line: str, schedule: Schedule, data: DataRef) -> CureCell:
        place = Place(*head, (schedule.positive, schedule.negative))
        printed = printed_cell(data.name, place.negatives, schedule) if published and data.source != "file" else None
        figure = printed[1] if printed else None
        learned = figure is not None if printed else None
        runs = members.get((place, line), ())
        horizon = epochs or _horizon(runs) if runs and line == PLAIN else horizons.get(place)
        if not runs or horizon is None:
            return CureCell(schedule, Measured(), figure, learned)
        reached = read(horizon)
        outcomes = by_key(reached[run.id] for run in runs if run.id in reached).values()
        measured = reduce_runs(outcomes, metric, horizon) if outcomes else Measured()
        return CureCell(schedule, measured, figure, learned, horizon, tuple(o.run for o in outcomes))

    names = Counter(name for name, _ in {head[:2] for head in heads})
    rows = []
    for head in heads:
        config = next(run.config for place, runs in cured.items() if place[:3] == head for run in runs)
        lines = [PLAIN, SAME_RATE, *sorted({line for place, line in members if place[:3] == head} - {PLAIN, SAME_RATE})]
        rows.append(
            CureRow(
                f"{head[0]} {head[1][:8]}" if names[head[0]] > 1 else head[0],
                head[2],
                config.data,
                config.chance,
                tuple(CureLine(line, tuple(cell(head, line, s, config.data) for s in schedules)) for line in lines),
            )
        )
    return CureTable(family, metric, schedules, tuple(rows))


def _cured(members: Members, place: Place) -> list[RunSummary]:
    lines = [line for other, line in members if other == place and line not in (PLAIN, SAME_RATE)]
    return [run for line in lines for run in members[place, line]]


def _horizon(runs: Sequence[RunSummary]) -> int:
    """The most epochs that were asked of a run and reached, else asked."""
    reached = [run.config.epochs for run in runs if run.epochs_done >= run.config.epochs]
    return max(reached or [run.config.epochs for run in runs])


def _paper_order(head: tuple[str, str, str]) -> tuple[object, ...]:
    """The paper's rows first, in its order."""
    order = list(paper_tables()[1].rows)
    row = (head[0], head[2])
    return (order.index(row) if row in order else len(order), head)
