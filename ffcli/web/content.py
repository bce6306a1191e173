"""What the page shows: tables with the runs of each cell, figures, and all runs with their curves.

The tables are the sheets that `ff report` prints. This module adds which runs belong to which cell.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, get_args

from ffcli.choices import Metric, Status
from ffcli.config import RunConfig
from ffcli.records import EpochMetrics, RunRecord, RunSummary
from ffcli.report.cells import Cell, Place, TableRow, place_of, signs, value
from ffcli.report.cures import CureTable, cures_document, draw_cures, set_aside
from ffcli.report.protocol import data_kind, default_protocol, select, signature
from ffcli.report.sheet import OUTSIDE, Item, Sheet
from ffcli.report.tables import Table, draw_tables, measured_only, tables_document
from ffcli.report.titles import protocol_of
from ffcli.store.database import Store
from ffcli.store.export import runs_with_epochs
from ffcli.store.mapping import Skipped
from ffcli.store.outcomes import evaluated_epochs, outcomes
from ffcli.store.runs import list_runs, short_ids
from ffcli.text import counted, duration, local_time, printable
from ffcli.web.figures import Panel, phases_panel

MAX_POINTS, MIN_POINTS = 200, 12
ALL_POINTS = 25_000
"""Points of a run's curves at most and at least, and of all runs together: a page of 500 runs stays below 3 MB."""

PHASES = {"positive": "p", "negative": "n", "joint": "j", None: ""}


class Entry(NamedTuple):
    """One entry of a table and the runs behind it."""

    item: Item
    runs: tuple[int, ...]
    """Places of the runs in `Content.runs`."""
    title: str
    """Dataset, negatives, schedule and line in words."""


class Row(NamedTuple):
    """One row of a table."""

    heads: tuple[str, ...]
    """Dataset, negatives, and the name of the line if the table has lines."""
    entries: tuple[Entry, ...]


class Shown(NamedTuple):
    """One table of the page."""

    key: str
    """Unique on the page, and the same in the next version of a live page."""
    sheet: Sheet
    rows: tuple[Row, ...]
    heads: tuple[str, ...]


class Part(NamedTuple):
    """The tables of one protocol, and their figure."""

    key: str
    title: str
    tables: tuple[Shown, ...]
    panels: tuple[Panel, ...] = ()


class Line(NamedTuple):
    """One run in the table of runs."""

    run: RunRecord
    short_id: str
    protocol: str
    started: str
    time: str


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that the page shows."""

    source: str
    """Name of the database file."""
    made: str
    """Local time at which the page was made."""
    parts: tuple[Part, ...]
    cures: Part | None
    legend: tuple[str, ...]
    """An explanation of each sign in the tables."""
    start: str | None
    """The command that trains a first run, if there is none."""
    runs: tuple[Line, ...]
    curves: Sequence[Mapping[str, Any]]
    """What the page's program draws of each run in `runs`."""
    statuses: Sequence[tuple[Status, int]]
    """How many runs have each status that occurs."""


def read_content(
    store: Store,
    runs: Sequence[RunSummary],
    *,
    preset: str | None = None,
    metric: Metric = "final",
    epochs: int | None = None,
    numbers: Sequence[int] = (1, 2),
    with_published: bool = True,
    skipped: Skipped | None = None,
) -> Content:
    """Return the page of some runs.

    Args:
        store: the database.
        runs: the runs to show, as `store.outcomes.summaries` returns them.
        preset: only runs of this preset, or `custom`.
        metric: the accuracy in the tables.
        epochs: the horizon of all tables; None for each protocol's own.
        numbers: the paper's tables to show, 1 and 2.
        with_published: whether to show the paper's figures.
        skipped: called for each run that cannot be read, which is left out; if None, such a run is an error.

    Raises:
        DamagedRun: if a run cannot be read and there is no `skipped`.
    """
    runs = select(runs, preset=preset)
    read = partial(outcomes, store, runs=runs)
    lines, curves = _read_runs(store, {run.id for run in runs}, skipped)
    places = {line.run.id: place for place, line in enumerate(lines)}
    plain, aside = set_aside(runs)
    tables = draw_tables(
        plain, read, default=default_protocol(preset), metric=metric, epochs=epochs, numbers=numbers,
        with_published=with_published, evaluated=partial(evaluated_epochs, store),
    )  # fmt: skip
    measured = measured_only(tables)
    shown = _paper_tables(measured, tables_document(measured).sheets if measured else (), plain, places)
    cures = draw_cures(aside and runs, read, metric=metric, epochs=epochs, with_published=with_published)
    return Content(
        source=printable(store.path.name),
        made=local_time(datetime.now(UTC)),
        parts=tuple(_parts(measured, shown)),
        cures=_cures(cures, places) if cures else None,
        legend=tuple(_legend(measured)),
        start=tables[0].next_command if tables and not measured else None,
        runs=lines,
        curves=curves,
        statuses=_statuses(lines),
    )


def _legend(tables: Sequence[Table]) -> Iterable[str]:
    cells = [cell for table in tables for row in (*table.rows, *table.others) for cell in row.cells]
    if any(cell.within_spread is False for cell in cells):
        yield f"{OUTSIDE} the paper's figure is outside the seeds' spread"
    yield from signs(cells, {value(cell) for cell in cells})


def _parts(tables: Sequence[Table], shown: Sequence[Shown]) -> Iterable[Part]:
    """The tables of each protocol."""
    by_protocol: dict[Any, list[int]] = defaultdict(list)
    for place, table in enumerate(tables):
        by_protocol[table.protocol.data, table.protocol.label].append(place)
    for (data, label), places in by_protocol.items():
        own = [tables[place] for place in places]
        yield Part(
            f"{data} {label}", f"{label}, {data} data", tuple(shown[place] for place in places), tuple(_panels(own))
        )


def _panels(tables: Sequence[Table]) -> Iterable[Panel]:
    """The figure of a protocol: a panel for each dataset and negatives."""
    rows: dict[tuple[str, str], dict[int, list[Cell]]] = defaultdict(dict)
    for table in tables:
        for row in table.rows:
            rows[row.dataset, row.negatives][table.number] = list(row.cells)
    for (dataset, negatives), cells in rows.items():
        if panel := phases_panel(f"{printable(dataset)}, {negatives}", cells):
            yield panel


def _paper_tables(
    tables: Sequence[Table], sheets: Sequence[Sheet], runs: Iterable[RunSummary], places: Mapping[str, int]
) -> list[Shown]:
    """The paper's tables, each with its sheet: a block of the sheet is a row of the table."""
    of_signature: dict[Any, list[RunSummary]] = defaultdict(list)
    for run in runs:
        of_signature[signature(run.config)].append(run)
    shown = []
    for table, sheet in zip(tables, sheets, strict=True):
        members: dict[Place, list[int]] = defaultdict(list)
        for run in of_signature[table.protocol.signature]:
            if run.id in places and table.protocol.fits(run.config):
                members[place_of(run.config)].append(places[run.id])
        rows = []
        for row, block in zip(table.rows, sheet.blocks, strict=True):
            entries = tuple(
                Entry(item, _sorted(members[_place(row, cell)]), _words(*block.name, cell.schedule))
                for cell, item in zip(row.cells, block.lines[0].items, strict=True)
            )
            rows.append(Row(block.name, entries))
        key = f"{table.protocol.data} {table.protocol.label} {table.number}"
        shown.append(Shown(key, sheet, tuple(rows), sheet.heads))
    return shown


def _place(row: TableRow, cell: Cell) -> Place:
    """The place of the runs of a cell. The label of a row may have a short fingerprint after the name."""
    fingerprint = row.fingerprint or ""
    name = row.dataset.removesuffix(f" {fingerprint[:8]}") if fingerprint else row.dataset
    return Place(name, fingerprint, row.negatives, (cell.schedule.positive, cell.schedule.negative))


def _cures(tables: Sequence[CureTable], places: Mapping[str, int]) -> Part:
    """The tables of plain and cured runs. The costs of the cures are left out: reading them takes longer than the rest
    of the page."""
    shown = []
    for number, (table, sheet) in enumerate(
        zip(tables, cures_document([(table, ()) for table in tables]).sheets, strict=True)
    ):
        rows = []
        for row, block in zip(table.rows, sheet.blocks, strict=True):
            # The paper's line, if there is one, is the first and has no runs.
            cells = [(), *(line.cells for line in row.lines)][not row.paper :]
            for line, of_line in zip(block.lines, cells, strict=True):
                runs = [cell.runs for cell in of_line] or [()] * len(line.items)
                entries = tuple(
                    Entry(
                        item,
                        _sorted(places[run.id] for run in group if run.id in places),
                        _words(*block.name, schedule, line.name),
                    )
                    for item, group, schedule in zip(line.items, runs, table.schedules, strict=True)
                )
                rows.append(Row((*block.name, line.name), entries))
        shown.append(Shown(f"cures {number}", sheet, tuple(rows), ("data", "negatives", "method")))
    return Part("cures", "Cures", tuple(shown))


def _sorted(places: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(places))


def _words(*parts: object) -> str:
    return printable(" ".join(filter(None, map(str, parts))))


def _statuses(lines: Iterable[Line]) -> list[tuple[Status, int]]:
    number = Counter(line.run.status for line in lines)
    return [(status, number[status]) for status in get_args(Status) if number[status]]


# Runs and their curves


def _read_runs(
    store: Store, ids: set[str], skipped: Skipped | None
) -> tuple[tuple[Line, ...], list[Mapping[str, Any]]]:
    """The runs with these ids, newest first, and what is drawn of each."""
    records = [run for run in list_runs(store, skipped=skipped) if run.id in ids]
    short = short_ids(store, [run.id for run in records])
    points = min(MAX_POINTS, max(MIN_POINTS, ALL_POINTS // max(1, len(records))))
    lines, curves = [], []
    for run, epochs in runs_with_epochs(store, records):
        lines.append(Line(run, short[run.id], protocol_of(run.config), local_time(run.started), duration(run.seconds)))
        evaluated = [epoch for epoch in epochs if epoch.accuracy is not None]
        curves.append(_curves(run, evaluated, points))
    return tuple(lines), curves


def thinned(epochs: Sequence[EpochMetrics], most: int) -> Sequence[EpochMetrics]:
    """Return at most `most` epochs, evenly spaced, with the first and the last one."""
    if len(epochs) <= most:
        return epochs
    step = (len(epochs) - 1) / (most - 1)
    return [epochs[round(place * step)] for place in range(most)]


def _curves(run: RunRecord, evaluated: Sequence[EpochMetrics], points: int) -> Mapping[str, Any]:
    """Values by epoch with short names, because there are many runs. Numbers that are not finite are null."""
    config, epochs = run.config, thinned(evaluated, points)
    by_layer = {"g": "goodness_positive", "w": "goodness_negative", "d": "dead_units"}
    layers = range(len(config.hidden))
    found = {
        "e": [e.epoch for e in epochs],
        "a": [_rounded(e.accuracy) for e in epochs],
        "p": "".join(PHASES[e.phase] or "-" for e in epochs),
        "chance": _rounded(config.chance),
        "threshold": config.threshold,
        "phases": _phases(config),
        "thinned": len(epochs) < len(evaluated),
        "settings": _settings(run),
    }
    for short, name in by_layer.items():
        values = [getattr(e, name) for e in epochs]
        if any(values):
            found[short] = [[_rounded(v[n]) if v and n < len(v) else None for v in values] for n in layers]
    return found


def _phases(config: RunConfig) -> list[float] | None:
    """Positive hours, negative hours and hours per epoch; None for an unseparated run."""
    schedule = config.schedule
    return [schedule.positive, schedule.negative, config.hours / config.epochs] if schedule.separated else None


def _settings(run: RunRecord) -> list[tuple[str, str]]:
    """What the details of a run name, beside its line in the table."""
    config = run.config
    last = run.provenance[-1] if run.provenance else None
    found = [
        ("id", run.id),
        ("layers", ", ".join(map(str, config.hidden))),
        ("learning rate", f"{config.lr:g} (positive phase {config.lr_positive:g})"),
        ("updates per batch", str(config.updates_per_batch)),
        ("batch size", str(config.batch_size)),
        ("precision", config.precision),
        ("data", f"{data_kind(config)}, {counted(config.data.train, 'training image')}"),
        ("trained with", f"ffcli {last.ffcli}, torch {last.torch}, {last.device}" if last else ""),
        ("failure", run.failure or ""),
        ("note", run.note or ""),
    ]
    return [(name, printable(text)) for name, text in found if text]


def _rounded(value: float | None) -> float | None:
    """Four significant digits, which is more than a figure shows."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
