"""Tables 1 and 2 of the paper with the measurements of one protocol.

`draw_tables` makes the tables from stored runs, `tables_document` turns them into what `ff report` prints.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from ffcli.choices import Metric
from ffcli.config import ALGORITHM_VERSION, DEFAULT_PRESET, DataRef
from ffcli.published import tables as paper_tables
from ffcli.records import Outcome, RunSummary
from ffcli.report.agreement import agreement, sentences
from ffcli.report.cells import (
    DATA,
    Cell,
    Measured,
    Place,
    TableRow,
    by_key,
    metric_words,
    place_of,
    published,
    reduce_runs,
    runs_words,
    signs,
    spread_beside_paper,
    value,
    value_role,
)
from ffcli.report.colours import FAR, NEAR, distance_role
from ffcli.report.command import sweep_command, train_command
from ffcli.report.grouping import by_signature, order, protocols
from ffcli.report.protocol import Protocol, Signature
from ffcli.report.sheet import NOTHING, OUTSIDE, Block, Column, Document, Item, Line, Sheet, Span
from ffcli.report.writers import rounded
from ffcli.schedule import Schedule
from ffcli.text import counted

TITLES = {1: "n positive hours, n negative hours", 2: "n positive hours, 1 negative hour"}

FIELDS = (
    "table", "protocol", "data", "metric", "epochs", "dataset", "negatives", "pos_phase", "neg_phase",
    "mean", "std", "runs", "published", "difference", "learned",
)  # fmt: skip
"""Columns of the CSV. `table` is empty for schedules that neither table has."""


@dataclass(frozen=True, slots=True)
class Table:
    """One of the paper's tables (1: balanced phases, 2: n positive hours to one negative) under one protocol."""

    number: int
    protocol: Protocol
    metric: Metric
    epochs: int
    """The horizon: every run is read after this many epochs."""
    schedules: tuple[Schedule, ...]
    rows: tuple[TableRow, ...]
    """Each with a cell for each of `schedules`."""
    others: tuple[TableRow, ...]
    """Measured schedules that neither table has; given with the last of a protocol's tables."""
    missing: tuple[tuple[TableRow, Cell], ...]
    """Cells of the whole table without a run that counts or is running."""
    size: int
    """Number of cells of the whole table."""

    @property
    def next_command(self) -> str | None:
        """The command that fills the first missing cell.

        None if no cell is missing, or if an earlier version of the algorithm made the table.
        """
        if not self.missing or self.protocol.algorithm_version != ALGORITHM_VERSION:
            return None
        row, cell = self.missing[0]
        return train_command(self.protocol, row.source, row.negatives, cell.schedule, self.epochs)


def draw_tables(
    runs: Iterable[RunSummary],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    *,
    default: Protocol,
    metric: Metric = "final",
    epochs: int | None = None,
    numbers: Sequence[int] = (1, 2),
    with_published: bool = True,
    evaluated: EvaluatedEpochs | None = None,
    dataset: str | None = None,
    negatives: str | None = None,
) -> list[Table]:
    """Return tables for every protocol that the runs have.

    Args:
        runs: the runs to show.
        outcomes_at: returns the outcomes at a horizon of epochs; those of other runs are ignored.
        default: the protocol to show if there are no runs.
        metric: the accuracy to show.
        epochs: the horizon of all tables; None for each protocol's own (see `with_horizons`).
        numbers: the tables to make, 1 and 2.
        with_published: whether to show the paper's figures.
        evaluated: counts the runs that were evaluated after each epoch; None if all were, after all of their epochs.
        dataset: the only dataset to have rows; None for all.
        negatives: the only negative data to have rows; None for all.
    """
    groups = by_signature(runs)
    read = cache(lambda horizon: {outcome.run.id: outcome for outcome in outcomes_at(horizon)})
    tables = []
    for protocol, horizon in with_horizons(groups, epochs, evaluated or _all_epochs):
        reached = read(horizon)
        outcomes = [reached[run.id] for run in groups[protocol.signature] if run.id in reached]
        tables += build(protocol, horizon, outcomes, metric, numbers, with_published, dataset, negatives)
    if not tables:
        horizon = epochs or (default.preset or DEFAULT_PRESET).epochs
        tables = build(default, horizon, [], metric, numbers, with_published, dataset, negatives)
    return tables


def measured_only(tables: Sequence[Table]) -> list[Table]:
    """Return the tables without rows and columns in which nothing was run, and without tables of which nothing is left.

    A table that has only the schedules of both tables (unseparated and 1:1) is left out if the other one has more.
    """
    kept = []
    for _, group in groupby(tables, lambda table: table.protocol):
        reduced = [table for table in map(_reduced, group) if table.rows or table.others]
        shown = [table for table in reduced if any(s.positive > 1 for s in table.schedules)] or reduced[:1]
        others = tuple(row for table in reduced for row in table.others)
        kept += [replace(table, others=others if table is shown[-1] else ()) for table in shown]
    return kept


def _reduced(table: Table) -> Table:
    used = {cell.schedule for row in table.rows for cell in row.cells if cell.measured != Measured()}
    rows = (replace(row, cells=tuple(cell for cell in row.cells if cell.schedule in used)) for row in table.rows)
    return replace(
        table,
        schedules=tuple(schedule for schedule in table.schedules if schedule in used),
        rows=tuple(row for row in rows if any(cell.measured != Measured() for cell in row.cells)),
    )


EvaluatedEpochs = Callable[[Sequence[RunSummary]], Mapping[int, int]]
"""Returns how many of the runs were evaluated after each epoch, from epoch 1 on."""


def _all_epochs(runs: Sequence[RunSummary]) -> Mapping[int, int]:
    return Counter(epoch for run in runs for epoch in range(1, run.epochs_done + 1))


def with_horizons(
    groups: Mapping[Signature, Sequence[RunSummary]],
    epochs: int | None = None,
    evaluated: EvaluatedEpochs = _all_epochs,
) -> list[tuple[Protocol, int]]:
    """Return the protocols of runs grouped by signature, each with the horizon of its tables in epochs.

    The horizon is `epochs` if given. Otherwise it is the length of the preset if a run was evaluated there; without a
    preset, the largest number of epochs that was asked for and reached. Else it is the last epoch after which at least
    half of the protocol's runs were evaluated, or if there is none, the last of those with most runs.
    """
    found = []
    for shared, runs in groups.items():
        for protocol in protocols(shared, [run.config for run in runs]):
            own = [run for run in runs if protocol.fits(run.config)]
            found.append((protocol, epochs or _horizon(protocol, own, evaluated)))
    return sorted(found, key=lambda pair: order(pair[0]))


def _horizon(protocol: Protocol, runs: Sequence[RunSummary], evaluated: EvaluatedEpochs) -> int:
    longest = max(run.epochs_done for run in runs)
    asked = {protocol.preset.epochs} if protocol.preset else {run.config.epochs for run in runs}
    usual = max((epochs for epochs in asked if epochs <= longest), default=None)
    if usual is not None and any(run.config.epochs == usual for run in runs):  # the last epoch is always evaluated
        return usual
    begun = [run for run in runs if run.epochs_done]
    counts = evaluated(begun)
    if usual is not None and counts.get(usual):
        return usual
    enough = min(len(begun) / 2, max(counts.values(), default=0))
    return max((epoch for epoch, count in counts.items() if count >= enough), default=longest or max(asked))


def build(
    protocol: Protocol,
    epochs: int,
    outcomes: Iterable[Outcome],
    metric: Metric = "final",
    numbers: Sequence[int] = (1, 2),
    with_published: bool = True,
    dataset: str | None = None,
    negatives: str | None = None,
) -> list[Table]:
    """Return the tables `numbers` of one protocol.

    Args:
        protocol: the protocol.
        epochs: the horizon.
        outcomes: of runs with the protocol's signature; those that do not fit the protocol are left out.
        metric: the accuracy to show.
        numbers: the tables to make, 1 and 2.
        with_published: whether to show the paper's figures.
        dataset: the only dataset to have rows; None for all.
        negatives: the only negative data to have rows; None for all.
    """
    members = _members(protocol, outcomes)
    measured = {place: reduce_runs(runs.values(), metric, epochs) for place, runs in members.items()}
    heads = [
        head for head in _heads(members) if dataset in (None, head.dataset) and negatives in (None, head.negatives)
    ]
    tables = []
    for number in numbers:
        schedules = _schedules(number, {place.schedule for place in measured})
        figures = paper_tables()[number].rows if with_published else {}
        rows = tuple(_fill(head, schedules, measured, figures) for head in heads)
        others = _others(heads, measured) if number == numbers[-1] else ()
        cells = [(row, cell) for row in rows for cell in row.cells]
        missing = tuple((r, cell) for r, cell in cells if not cell.measured.runs and not cell.measured.running)
        tables.append(Table(number, protocol, metric, epochs, schedules, rows, others, missing, len(cells)))
    return tables


def _members(protocol: Protocol, outcomes: Iterable[Outcome]) -> dict[Place, dict[str, Outcome]]:
    """The protocol's runs by their place and key."""
    places: dict[Place, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if protocol.fits(outcome.run.config):
            places[place_of(outcome.run.config)].append(outcome)
    return {place: by_key(runs) for place, runs in places.items()}


class _Head(NamedTuple):
    dataset: str
    fingerprint: str | None
    negatives: str
    label: str
    source: str
    in_paper: bool


def _heads(members: Mapping[Place, Mapping[str, Outcome]]) -> list[_Head]:
    """The paper's rows in its order, once for each content measured under that name, then the other datasets.

    The paper's rows are left out if all runs have other datasets.
    """
    data = {place[:2]: _data(runs) for place, runs in members.items()}
    measured = sorted({place[:3] for place in members})
    heads: dict[tuple[str, str | None, str], bool] = {}
    paper = paper_tables()[1].rows
    if members and not {name for name, _ in paper} & {place.dataset for place in members}:
        paper = {}
    for name, negatives in paper:
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
    columns |= {schedule for schedule in measured if _belongs(number, *schedule)}
    return tuple(Schedule(positive=p, negative=n) for p, n in sorted(columns))


def _belongs(number: int, positive: int, negative: int) -> bool:
    """Whether table `number` is about such schedules. The paper prints unseparated ones in both."""
    return positive == negative if number == 1 else negative == 1


def _fill(
    head: _Head,
    schedules: Iterable[Schedule],
    measured: Mapping[Place, Measured],
    figures: Mapping[tuple[str, str], Mapping[Schedule, float | None]],
) -> TableRow:
    printed = figures.get((head.dataset, head.negatives), {}) if head.in_paper else {}
    cells = []
    for schedule in schedules:
        place = Place(head.dataset, head.fingerprint or "", head.negatives, (schedule.positive, schedule.negative))
        figure = printed.get(schedule)
        learned = figure is not None if schedule in printed else None
        cells.append(Cell(schedule, measured.get(place, Measured()), figure, learned))
    return TableRow(head.label, head.negatives, head.fingerprint, head.source, tuple(cells))


def _others(heads: Iterable[_Head], measured: Mapping[Place, Measured]) -> tuple[TableRow, ...]:
    rows = []
    for head in heads:
        own = sorted(place.schedule for place in measured if place[:3] == head[:3])
        odd = [Schedule(positive=p, negative=n) for p, n in own if not (_belongs(1, p, n) or _belongs(2, p, n))]
        if odd:
            rows.append(_fill(head, odd, measured, {}))
    return tuple(rows)


# What `ff report` prints


def tables_document(tables: Sequence[Table]) -> Document:
    """Return what `ff report` prints for these tables."""
    cells = [cell for table in tables for row in (*table.rows, *table.others) for cell in row.cells]
    empty = bool(tables) and all(cell.measured == Measured() for cell in cells)
    legend = [Span(text, "dim") for text in filter(None, [_legend(cells)])]
    if empty:
        legend += [Span("\nNothing is measured yet. To start:", "heading")]
        legend += [Span(f"  {tables[0].next_command}", "command")]
    return Document(
        sheets=tuple(_sheet(table, with_hints=not empty) for table in tables),
        legend=tuple(legend),
        data=[table_json(table) for table in tables],
        fields=FIELDS,
        records=[record for table in tables for record in _records(table)],
    )


def _sheet(table: Table, *, with_hints: bool) -> Sheet:
    return Sheet(
        columns=tuple(Column(str(schedule), "right") for schedule in table.schedules),
        blocks=tuple(
            Block((Line(tuple(map(_item, row.cells))),), name=(row.dataset, row.negatives)) for row in table.rows
        ),
        heads=("data", "negatives"),
        number=f"Table {table.number}",
        title=TITLES[table.number],
        caption=caption(table),
        transposable=True,
        notes=tuple(filter(None, (_also_measured(table), _agreement(table)))),
        hints=tuple(_hints(table)) if with_hints and table.missing else (),
    )


def _item(cell: Cell) -> Item:
    points = cell.difference
    difference = NOTHING if points is None else Span(f"{points:+z.1f}", distance_role(points))
    return Item(value(cell), value_role(cell), spread_beside_paper(cell), published(cell), difference)


def caption(*tables: Table) -> str:
    """Protocol, data, metric, horizon, seeds and devices of tables of one protocol in one line."""
    protocol = tables[0].protocol
    metric = metric_words(tables[0].metric, tables[0].epochs, held_out=protocol.holdout > 0)
    cells = (cell for table in tables for row in table.rows for cell in row.cells)
    parts = (protocol.label, DATA[protocol.data], metric, runs_words(cells))
    return " · ".join(filter(None, parts))


def _also_measured(table: Table) -> tuple[str, ...]:
    rows = [
        f"{row.dataset} {row.negatives} {', '.join(f'{cell.schedule} {_item(cell).flat}' for cell in row.cells)}"
        for row in table.others
    ]
    return (f"Also measured, in neither table: {'; '.join(rows)}",) if rows else ()


def _agreement(table: Table) -> tuple[str, ...]:
    found = agreement(table.rows, table.protocol.data)
    return () if found is None else tuple(sentences(found))


def _hints(table: Table) -> Iterator[Span]:
    """Number of missing cells, and the command that fills all of them or the first one."""
    count = f"{len(table.missing)} of {counted(table.size, 'cell')} not yet run"
    if table.next_command is None:
        yield Span(f"{count}; an earlier version of the algorithm made this table, so no run can be added.")
        return
    missing = [(row.dataset, row.negatives, cell.schedule) for row, cell in table.missing]
    if sweep := sweep_command(table.number, table.protocol, table.epochs, missing):
        yield Span(f"{count}; this command fills them:")
    else:
        yield Span(f"{count}; this command fills the first, {' '.join(map(str, missing[0]))}:")
    yield Span(f"  {sweep or table.next_command}", "command")


def _legend(cells: Sequence[Cell]) -> str:
    parts = []
    if any(cell.published_learned is not None for cell in cells):
        parts.append("after each accuracy the paper's (one seed) and the difference")
        parts.append(f"cyan within {NEAR} points, blue within {FAR}, magenta beyond")
    if any(cell.within_spread is False for cell in cells):
        parts.append(f"{OUTSIDE} the paper's figure is outside the seeds' spread")
    return "; ".join([*parts, *signs(cells, {value(cell) for cell in cells})])


def table_json(table: Table) -> dict[str, Any]:
    """The stable names of `ff report --json`. Accuracies in percent, null if there is no number."""
    agreed = agreement(table.rows, table.protocol.data)
    return {
        "table": table.number,
        "protocol": {"label": table.protocol.label, **table.protocol.model_dump(mode="json")},
        "data": table.protocol.data,
        "metric": table.metric,
        "epochs": table.epochs,
        "rows": [_json_row(row) for row in table.rows],
        "others": [_json_row(row) for row in table.others],
        "agreement": None if agreed is None else asdict(agreed),
    }


def _json_row(row: TableRow) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "negatives": row.negatives,
        "fingerprint": row.fingerprint,
        "cells": [
            {
                "pos_phase": cell.schedule.positive,
                "neg_phase": cell.schedule.negative,
                "mean": cell.measured.mean,
                "std": cell.measured.std,
                "runs": cell.measured.runs,
                "devices": list(cell.measured.devices),
                "published": cell.published,
                "published_learned": cell.published_learned,
                "learned": cell.measured.learned,
            }
            for cell in row.cells
        ],
    }


def _records(table: Table) -> Iterator[tuple[object, ...]]:
    """A row of CSV for each cell, under `FIELDS`."""
    protocol = table.protocol
    for number, rows in ((table.number, table.rows), ("", table.others)):
        for row in rows:
            for cell in row.cells:
                found = cell.measured
                yield (
                    number, protocol.label, protocol.data, table.metric, table.epochs, row.dataset, row.negatives,
                    cell.schedule.positive, cell.schedule.negative, rounded(found.mean), rounded(found.std),
                    found.runs, cell.published, rounded(cell.difference),
                    "" if found.learned is None else json.dumps(found.learned),
                )  # fmt: skip
