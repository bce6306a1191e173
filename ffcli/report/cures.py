"""The table of cures: accuracy by phase length, without a cure and under each cure.

    plain       without a cure at the preset's rate: what tables 1 and 2 show
    same rate   without a cure at the rate and epochs of the cell's cured runs: shows what the rate alone does
    CURE        `gradient-memory`, `replay:512` and so on

A cell's cured runs and its plain ones at the same rate are read after the same epochs: the largest number that a
cured run requested and reached.

The learning rate of a cured run falls with the length of its phases, so the runs of one protocol, which has one rate,
would fill only one column. A table therefore shows a family: runs that differ only in dataset, negatives, phases, seed,
rate, cure and epochs, and that follow one rule for the rate: `auto`, or the same rate for all phases. A run belongs to
every family that would have trained it in the same way.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import pairwise
from statistics import fmean, geometric_mean, median
from typing import Any, Literal

from ffcli.choices import Metric
from ffcli.config import (
    CURED_SCALING,
    PLAIN_SCALING,
    WARMUP,
    DataRef,
    RunConfig,
    automatic_lr,
    automatic_lr_origin,
    has_preset,
    nearest_presets,
)
from ffcli.published import cell as paper_cell
from ffcli.published import tables as paper_tables
from ffcli.records import EpochMetrics, Outcome, RunRecord, RunSummary
from ffcli.report.cells import (
    DATA,
    Cell,
    Measured,
    Place,
    by_key,
    metric_words,
    place_of,
    published,
    reduce_runs,
    runs_words,
    signs,
    spread,
    value,
    value_role,
)
from ffcli.report.grouping import by_signature, order, protocols
from ffcli.report.protocol import Protocol, Signature, signature
from ffcli.report.sheet import Block, Column, Document, Item, Line, Sheet, Span
from ffcli.report.writers import rounded
from ffcli.schedule import LrScaling, Schedule
from ffcli.settings import AUTO, NO_CURE, Cure
from ffcli.text import counted, named

PLAIN, SAME_RATE = "plain", "same rate"
"""Names of the lines without a cure."""

START = "ff train --dataset mnist --neg label --pos-phase 16 --balanced --cure gradient-memory"
"""A command that trains a cured run."""

TITLE = "Cures: accuracy by phase length"

FIELDS = (
    "table", "protocol", "lr_rule", "data", "metric", "dataset", "negatives", "pos_phase", "neg_phase", "line", "lr",
    "epochs", "mean", "std", "runs", "published", "learned", "memory", "time",
)  # fmt: skip
"""Columns of the CSV. `memory` is in bytes, `time` is that of an hour divided by that of plain
training; both are properties of the cure."""


# Families


@dataclass(frozen=True, slots=True)
class Family:
    """Cured runs and the plain runs that they are compared with."""

    protocol: Protocol
    """Protocol of the plain runs at the preset's rate."""
    scaling: LrScaling
    """How the positive phase's rate of the cured runs is scaled."""
    rate: float | Literal["auto"]
    warmup: int
    """Hours of warm-up of the cured runs, and of the plain ones at their rate."""

    def rate_at(self, schedule: Schedule, cure: Cure) -> float:
        """Return the rate of a run with these phases, plain or cured."""
        if isinstance(self.rate, float):
            return self.rate
        return automatic_lr(self.protocol.lr, schedule, self.protocol.updates_per_batch, cure)

    @property
    def label(self) -> str:
        """`fast@1 with lr auto`, or `fast@1` for a family with one rate, which the caption adds."""
        return self.protocol.model_copy(update={"has_automatic_lr": self.rate == AUTO}).label

    def follows(self, config: RunConfig) -> bool:
        """Return whether a run of this family's signature, plain or cured, was trained by its rule for the rate."""
        if (config.lr, config.warmup) != (self.rate_at(config.schedule, config.cure), self.warmup):
            return False
        return _with_rate(self.protocol, config.lr, self.scaling).fits(config)

    def is_at_presets_rate(self, config: RunConfig) -> bool:
        """Return whether a run of this family's signature is a plain one of tables 1 and 2."""
        return not config.cure and not config.warmup and self.protocol.fits(config)


def families(runs: Iterable[RunSummary]) -> list[tuple[Family, list[RunSummary]]]:
    """Return the families of all cured runs, presets and full data first, each with all runs of its signature.

    Superseded runs are left out. A rate has a family of its own only if some cured run does not follow `auto`.
    """
    found = []
    for shared, members in by_signature(runs, _signature).items():
        cured = [run.config for run in members if run.config.cure]
        for protocol in protocols(shared, cured) if cured else ():
            found += [(family, members) for family in _of_protocol(protocol, cured)]
    return sorted(found, key=lambda pair: _order(pair[0]))


def _order(family: Family) -> tuple[object, ...]:
    return (order(family.protocol), family.scaling != CURED_SCALING, isinstance(family.rate, float), family.rate)


def _signature(config: RunConfig) -> Signature:
    """Signature of a run after replacing its rate by the preset's, and removing its cure and warm-up."""
    return signature(config.model_copy(update={"lr": _presets_rate(config), "cure": NO_CURE, "warmup": 0}))


def _presets_rate(config: RunConfig) -> float:
    """Rate of the preset that the run's automatic rate may come from; for a run without the warm-up of automatic rates,
    its own if a preset has it; otherwise the rate of the first preset with as many updates."""
    rates = [preset.lr for preset in nearest_presets(config)]
    if config.warmup == WARMUP:
        return automatic_lr_origin(config) or rates[0]
    return config.lr if config.lr in rates else rates[0]


def _of_protocol(protocol: Protocol, cured: Iterable[RunConfig]) -> list[Family]:
    """Families of a protocol of cured runs. If their scaling is the cured default, plain runs use the plain one."""
    scaling = protocol.lr_scaling
    plain = PLAIN_SCALING if scaling == CURED_SCALING else scaling
    family = partial(Family, protocol.model_copy(update={"lr_scaling": plain}), scaling)
    auto = family(AUTO, WARMUP)
    own = [config for config in cured if _with_rate(protocol, config.lr, scaling).fits(config)]
    others = {(config.lr, config.warmup) for config in own if not auto.follows(config)}
    found = [auto] if any(map(auto.follows, own)) else []
    return found + [family(lr, warmup) for lr, warmup in sorted(others)]


def _with_rate(protocol: Protocol, lr: float, scaling: LrScaling) -> Protocol:
    return protocol.model_copy(update={"lr": lr, "lr_scaling": scaling})


def set_aside(runs: Sequence[RunSummary]) -> tuple[list[RunSummary], list[RunSummary]]:
    """Return the runs for tables 1 and 2, and those for the table of cures alone.

    The latter are the cured runs and their controls: plain runs with an automatic rate, of a dataset and negatives for
    which there are cured runs with such a rate; and plain runs with the rate and phases of a cured run, if they match
    no preset and all runs of their protocol are such controls.
    """
    cured = [run.config for run in runs if run.config.cure]
    if not cured:
        return list(runs), []
    aside = {run.id for run in runs if run.config.cure}
    for family, members in families(runs):
        if family.rate == AUTO:
            ours = [run for run in members if family.follows(run.config)]
            rows = {_head(run) for run in ours if run.config.cure}
            aside |= {run.id for run in ours if _head(run) in rows}
    treated = {(signature(config.model_copy(update={"cure": NO_CURE})), config.schedule) for config in cured}
    plain: dict[Signature, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if run.id not in aside:
            plain[signature(run.config)].append(run)
    for shared, group in plain.items():
        if all(run.config.preset == "custom" and (shared, run.config.schedule) in treated for run in group):
            aside |= {run.id for run in group}
    return [run for run in runs if run.id not in aside], [run for run in runs if run.id in aside]


def _head(run: RunSummary) -> tuple[str, str, str]:
    return place_of(run.config)[:3]


# The table


@dataclass(frozen=True, slots=True)
class CureCell(Cell):
    """Cell of one line and schedule."""

    epochs: int | None = None
    """The horizon of the cell; None without runs."""
    runs: tuple[RunSummary, ...] = ()
    """All runs of the cell, also shorter ones, which are not counted."""


@dataclass(frozen=True, slots=True)
class CureLine:
    """Cells of one row under one cure, or without a cure."""

    name: str
    cells: tuple[CureCell, ...]


@dataclass(frozen=True, slots=True)
class CureRow:
    """Lines of one dataset and one kind of negatives."""

    dataset: str
    """Its name; with a short fingerprint if the table has another dataset of that name."""
    negatives: str
    data: DataRef
    chance: float
    """Percent."""
    lines: tuple[CureLine, ...]
    """`plain` and `same rate`, then the cures that the row has."""

    @property
    def paper(self) -> tuple[Cell, ...]:
        """The cells, for the paper's figures in them; empty if the paper has none of them."""
        cells = self.lines[0].cells
        return cells if any(map(published, cells)) else ()


@dataclass(frozen=True, slots=True)
class CureTable:
    """The table of one family."""

    family: Family
    metric: Metric
    schedules: tuple[Schedule, ...]
    """Those of the cured runs and, with automatic rates, of the plain runs at the same rates; balanced ones first.
    Before them unseparated, for reference, if it was trained."""
    rows: tuple[CureRow, ...]
    """Each line with a cell for each of `schedules`."""

    @property
    def cells(self) -> list[tuple[CureRow, CureLine, CureCell]]:
        """All cells, each with its row and line."""
        return [(row, line, cell) for row in self.rows for line in row.lines for cell in line.cells]

    @property
    def with_runs(self) -> list[tuple[CureRow, CureLine, CureCell]]:
        """The cells that have runs, each with its row and line."""
        return [found for found in self.cells if found[2].runs]

    @property
    def cures(self) -> list[str]:
        return sorted({line.name for row in self.rows for line in row.lines} - {PLAIN, SAME_RATE})

    @property
    def lengths(self) -> list[int]:
        """Lengths of the balanced phases, in hours."""
        return [s.positive for s in self.schedules if s.separated and s.positive == s.negative]


def draw_cures(
    runs: Iterable[RunSummary],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    *,
    preset: str | None = None,
    metric: Metric = "final",
    epochs: int | None = None,
    with_published: bool = True,
) -> list[CureTable]:
    """Return a table for each family that the runs have.

    Args:
        runs: the runs to show.
        outcomes_at: returns the outcomes at a horizon of epochs; those of other runs are ignored.
        preset: a preset or `custom`, to show only the families with that preset's updates.
        metric: the accuracy to show.
        epochs: the horizon of all cells; None for each cell's own.
        with_published: whether to show the paper's figures.
    """
    read = cache(lambda horizon: {outcome.run.id: outcome for outcome in outcomes_at(horizon)})
    return [
        _table(family, _members(family, group), read, metric, epochs, with_published)
        for family, group in families(runs)
        if preset is None or has_preset(family.protocol, preset)
    ]


_Members = Mapping[tuple[Place, str], Sequence[RunSummary]]
"""A family's runs by place and line."""


def _members(family: Family, runs: Iterable[RunSummary]) -> _Members:
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
    members: _Members,
    read: Callable[[int], Mapping[str, Outcome]],
    metric: Metric,
    epochs: int | None,
    with_published: bool,
) -> CureTable:
    cured = {place: _cured(members, place) for place, line in members if line not in (PLAIN, SAME_RATE)}
    horizons = {place: epochs or _horizon(runs) for place, runs in cured.items()}
    heads = sorted({place[:3] for place in cured}, key=_paper_order)
    if family.rate == AUTO:
        controls = {place: runs for (place, line), runs in members.items() if line == SAME_RATE and place[:3] in heads}
        horizons = {place: epochs or _horizon(runs) for place, runs in controls.items()} | horizons
    phases = {place.schedule for place in horizons}
    phases |= {(0, 0) for place, line in members if line == PLAIN and place[:3] in heads and place.schedule == (0, 0)}
    schedules = tuple(Schedule(positive=p, negative=n) for p, n in sorted(phases, key=lambda s: (s[0] != s[1], s)))

    def cell(head: tuple[str, str, str], line: str, schedule: Schedule, data: DataRef) -> CureCell:
        place = Place(*head, (schedule.positive, schedule.negative))
        printed = paper_cell(data.name, place.negatives, schedule) if with_published and data.source != "file" else None
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


def _cured(members: _Members, place: Place) -> list[RunSummary]:
    lines = [line for other, line in members if other == place and line not in (PLAIN, SAME_RATE)]
    return [run for line in lines for run in members[place, line]]


def _horizon(runs: Sequence[RunSummary]) -> int:
    """Largest number of epochs that a run requested and reached; if none did, the largest requested."""
    reached = [run.config.epochs for run in runs if run.epochs_done >= run.config.epochs]
    return max(reached or [run.config.epochs for run in runs])


def _paper_order(head: tuple[str, str, str]) -> tuple[object, ...]:
    """A sort key: the paper's rows first, in its order."""
    rows = list(paper_tables()[1].rows)
    row = (head[0], head[2])
    return (rows.index(row) if row in rows else len(rows), head)


# What a cure costs


TimedRun = Callable[[str], tuple[RunRecord, list[EpochMetrics]]]
"""Returns a run and its epochs by its id."""

_Setting = tuple[str, str, int, bool]
"""Host, device, threads, and whether the epoch was evaluated."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one cure on data with one number of features."""

    cure: str
    datasets: tuple[str, ...]
    features: int
    memory: int
    """Bytes that the cure keeps for the network."""
    time: float | None
    """Time of an hour divided by that of plain training; None if no cell has both."""
    cells: int
    """Cells compared for the time."""
    evaluated: bool
    """Whether the compared times include an evaluation after each epoch."""


def cure_costs(table: CureTable, timed: TimedRun) -> list[Cost]:
    """Return the costs of each of the table's cures.

    Compared are runs of one cell on the same host, device and number of threads, by the median seconds of their
    epochs without an evaluation, or if a pair has none, with one. A cure's time is the geometric mean of the cells'
    ratios, of those without an evaluation if there are any.

    Args:
        table: the table.
        timed: reads a run and its epochs.
    """
    found = []
    for cure in table.cures:
        for features in sorted({row.data.features for row in table.rows}):
            rows = [row for row in table.rows if row.data.features == features and _runs_of(row, cure)]
            if rows:
                ratios = [pair for row in rows for pair in _ratios(row, cure, timed)]
                evaluated = bool(ratios) and all(flag for _, flag in ratios)
                own = [ratio for ratio, flag in ratios if flag == evaluated]
                names = tuple(dict.fromkeys(row.data.name for row in rows))
                memory = kept_bytes(Cure.model_validate(cure), features, table.family.protocol)
                time = geometric_mean(own) if own else None
                found.append(Cost(cure, names, features, memory, time, len(own), evaluated))
    return found


def kept_bytes(cure: Cure, features: int, protocol: Protocol) -> int:
    """Return the bytes that a cure keeps (see `ffcli.engine.cures`).

    `gradient-memory` keeps two vectors of each layer's parameters, `replay` its samples of two phases' inputs to each
    layer.

    Args:
        cure: the cure.
        features: number of inputs of the network.
        protocol: gives layer sizes and precision.
    """
    layers = list(pairwise((features, *protocol.hidden)))
    size = 8 if protocol.precision == "float64" else 4
    if cure.samples is None:
        return 2 * size * sum((inputs + 1) * units for inputs, units in layers)
    return 2 * size * cure.samples * sum(inputs for inputs, _ in layers)


def _runs_of(row: CureRow, name: str) -> dict[Schedule, tuple[RunSummary, ...]]:
    """The runs of one line by schedule."""
    return {cell.schedule: cell.runs for line in row.lines if line.name == name for cell in line.cells if cell.runs}


def _ratios(row: CureRow, cure: str, timed: TimedRun) -> list[tuple[float, bool]]:
    # The time does not depend on the learning rate, so plain runs at either rate are used.
    at_preset, at_same = _runs_of(row, PLAIN), _runs_of(row, SAME_RATE)
    ratios = []
    for schedule, runs in _runs_of(row, cure).items():
        if plain := at_preset.get(schedule, ()) + at_same.get(schedule, ()):
            with_cure, without = _seconds(runs, timed), _seconds(plain, timed)
            shared = sorted(with_cure.keys() & without.keys(), key=lambda setting: setting[-1])
            evaluated = shared[0][-1] if shared else False
            ratios += [(with_cure[s] / without[s], evaluated) for s in shared if s[-1] == evaluated]
    return ratios


def _seconds(runs: Iterable[RunSummary], timed: TimedRun) -> dict[_Setting, float]:
    """Seconds of an epoch by setting: the mean of the runs' medians. Runs with several settings are left out."""
    medians: dict[_Setting, list[float]] = defaultdict(list)
    for record, epochs in (timed(run.id) for run in runs):
        settings = {(p.host, p.device, p.threads) for p in record.provenance}
        if len(settings) != 1:
            continue
        for evaluated in (False, True):
            own = [e.seconds for e in epochs if e.epoch and (e.accuracy is not None) == evaluated]
            if own:
                medians[(*next(iter(settings)), evaluated)].append(median(own))
    return {setting: fmean(values) for setting, values in medians.items()}


# What `ff report --table cures` prints


def cures_document(tables: Sequence[tuple[CureTable, Sequence[Cost]]]) -> Document:
    """Return what `ff report --table cures` prints for these tables and their costs."""
    if tables:
        legend = [Span(_legend([table for table, _ in tables]), "dim")]
    else:
        legend = [Span("No cured runs here yet. To start:", "heading"), Span(f"  {START}", "command")]
    return Document(
        sheets=tuple(_sheet(*table) for table in tables),
        legend=tuple(legend),
        data=[cures_json(*table) for table in tables],
        fields=FIELDS,
        records=[record for table in tables for record in _records(*table)],
    )


def _sheet(table: CureTable, costs: Sequence[Cost]) -> Sheet:
    return Sheet(
        columns=tuple(Column(str(schedule), "right") for schedule in table.schedules),
        blocks=tuple(Block(tuple(_lines(table, row)), name=(row.dataset, row.negatives)) for row in table.rows),
        heads=("data", "negatives", ""),
        title=TITLE,
        caption=cures_caption(table),
        transposable=True,
        notes=tuple((note,) for note in _notes(table, costs)),
    )


def _lines(table: CureTable, row: CureRow) -> Iterator[Line]:
    if row.paper:
        yield Line(tuple(Item(published(cell), "paper") for cell in row.paper), "paper")
    best = [max(map(_learned_mean, cells)) for cells in zip(*(line.cells for line in row.lines), strict=True)]
    for line in row.lines:
        yield Line(
            tuple(_item(line, cell, top) for cell, top in zip(line.cells, best, strict=True)),
            line_name(table, line.name),
        )


def _item(line: CureLine, cell: CureCell, best: float) -> Item:
    role = value_role(cell)
    if role == "measured":
        role = "best" if _learned_mean(cell) == best >= 0 else ""
    return Item(_value(line, cell), role, spread(cell))


def _learned_mean(cell: Cell) -> float:
    return cell.measured.mean if cell.measured.mean is not None and cell.measured.learned else -1


def _value(line: CureLine, cell: CureCell) -> str:
    """`value`; empty if there is nothing to run: unseparated hours have no cure."""
    return value(cell) if cell.schedule.separated or line.name == PLAIN or cell.runs else ""


def line_name(table: CureTable, name: str) -> str:
    """Return the displayed name of a line: `plain, lr 0.05`, `plain, same lr`, or the cure's own name."""
    return {PLAIN: f"plain, lr {table.family.protocol.lr:g}", SAME_RATE: "plain, same lr"}.get(name, name)


def cures_caption(table: CureTable) -> str:
    """Return family, data, metric, epochs, seeds and device in one line."""
    family = table.family
    protocol = family.protocol
    cured = [cell.epochs or 0 for _, line, cell in table.with_runs if line.name != PLAIN]
    metric = metric_words(
        table.metric, max(cured, default=0), shortest=min(cured, default=0), held_out=protocol.holdout > 0
    )
    runs = runs_words(cell for _, _, cell in table.with_runs)
    rate = [] if family.rate == AUTO else [f"lr {family.rate}"]
    if family.scaling != CURED_SCALING:
        rate.append(f"lr scaling {family.scaling}")
    if family.rate != AUTO and family.warmup:
        rate.append(f"warm-up of {counted(family.warmup, 'hour')}")
    parts = (family.label, ", ".join(rate), DATA[protocol.data], metric, runs)
    return " · ".join(filter(None, parts))


def _notes(table: CureTable, costs: Sequence[Cost]) -> Iterator[str]:
    """The rates, the epochs if they differ, runs that are not counted, and the costs."""
    automatic = table.family.rate == AUTO
    cured = [found for found in table.with_runs if found[1].name != PLAIN]
    plain = [found for found in table.with_runs if found[1].name == PLAIN]
    if automatic:
        yield f"lr auto is {'; '.join(_rates(table))}; it rises over {counted(table.family.warmup, 'hour')}"
    if len({cell.epochs for _, _, cell in cured}) > 1:
        yield f"Epochs of the cured runs and of the plain ones at their rate: {_epochs(cured)}"
    if plain and {cell.epochs for _, _, cell in plain} != {cell.epochs for _, _, cell in cured}:
        yield f"Epochs of {line_name(table, PLAIN)}: {_epochs(plain)}"
    if automatic and not any(line.name == SAME_RATE for _, line, _ in table.with_runs):
        yield "No plain run at these rates: the same command with --cure none --lr auto trains it"
    if short := list(_short(table)):
        yield f"Not counted because they are shorter: {'; '.join(short)}"
    yield from map(_cost_words, costs)


def _rates(table: CureTable) -> Iterator[str]:
    """`0.01 at 16:16 (plain, gradient-memory)`: the rates, each with the cures that have them."""
    names: dict[tuple[float, ...], list[str]] = defaultdict(list)
    separated = [schedule for schedule in table.schedules if schedule.separated]
    for name in [PLAIN, *table.cures]:
        cure = NO_CURE if name == PLAIN else Cure.model_validate(name)
        names[tuple(table.family.rate_at(schedule, cure) for schedule in separated)].append(name)
    for rates, sharing in names.items():
        at = ", ".join(f"{rate:g} at {schedule}" for rate, schedule in zip(rates, separated, strict=True))
        yield f"{at} ({', '.join(sharing)})"


def _epochs(found: Iterable[tuple[CureRow, CureLine, CureCell]]) -> str:
    """`20 at 1:1; 100 at 16:16, 64:64`: of a column if its rows agree, else of each row."""
    columns: dict[str, set[int | None]] = defaultdict(set)
    found = sorted(found, key=lambda each: (each[2].schedule.positive, each[2].schedule.negative))
    for _, _, cell in found:
        columns[str(cell.schedule)].add(cell.epochs)
    if len({epochs for all_of in columns.values() for epochs in all_of}) == 1:
        return str(found[0][2].epochs)
    places: dict[int, dict[str, None]] = defaultdict(dict)
    for row, _, cell in found:
        at = str(cell.schedule)
        places[cell.epochs or 0][at if len(columns[at]) == 1 else f"{row.dataset} {row.negatives} {at}"] = None
    return "; ".join(f"{epochs} at {', '.join(at)}" for epochs, at in sorted(places.items()))


def _short(table: CureTable) -> Iterator[str]:
    """`mnist label 16:16, 64:64 replay:512 seeds 0-3 (20 of 50 epochs)`: runs that are too short in a cell that counts
    others. Without others, the cell itself shows it."""
    schedules: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row, line, cell in table.with_runs:
        short = [run for run in cell.runs if run.epochs_done < (cell.epochs or 0)]
        if cell.measured.runs and short:
            done = sorted({run.epochs_done for run in short})
            epochs = f"{done[0]}" if len(done) == 1 else f"{done[0]} to {done[-1]}"
            seeds = named("seed", (run.config.seed for run in short))
            runs = f"{seeds} ({epochs} of {counted(cell.epochs or 0, 'epoch')})"
            schedules[f"{row.dataset} {row.negatives}", line_name(table, line.name), runs].append(str(cell.schedule))
    for (name, line_text, runs), at in schedules.items():
        yield f"{name} {', '.join(at)} {line_text} {runs}"


def _cost_words(cost: Cost) -> str:
    memory = f"{cost.cure} keeps {cost.memory:,} bytes ({', '.join(cost.datasets)})"
    if cost.time is None:
        return f"{memory}; time per hour relative to plain: -"
    what = "evaluation included" if cost.evaluated else "without evaluation"
    return f"{memory}; time per hour relative to plain: {cost.time:.2f} ({counted(cost.cells, 'cell')}, {what})"


def _legend(tables: Iterable[CureTable]) -> str:
    found = [each for table in tables for each in table.cells]
    cells = [cell for _, _, cell in found]
    parts = ["plain: no cure; same lr: at the cured runs' rate and epochs"]
    if any(map(published, cells)):
        parts.append("paper: one seed, no cure, 50 updates per batch, 500 epochs")
    return "; ".join([*parts, *signs(cells, {_value(line, cell) for _, line, cell in found})])


def cures_json(table: CureTable, costs: Sequence[Cost]) -> dict[str, Any]:
    """Return the JSON of `ff report --table cures --json`; its names are stable.

    Accuracies are in percent; null if there is no number.
    """
    protocol = table.family.protocol
    return {
        "table": "cures",
        "protocol": {"label": protocol.label, **protocol.model_dump(mode="json", exclude={"cure"})},
        "lr_rule": table.family.rate,
        "data": protocol.data,
        "metric": table.metric,
        "rows": [
            {
                "dataset": row.dataset,
                "negatives": row.negatives,
                "fingerprint": row.data.fingerprint,
                "chance": row.chance,
                "lines": [
                    {"line": line.name, "cells": [_json_cell(table, line, cell) for cell in line.cells]}
                    for line in row.lines
                ],
            }
            for row in table.rows
        ],
        "costs": [asdict(cost) for cost in costs],
    }


def _json_cell(table: CureTable, line: CureLine, cell: CureCell) -> dict[str, Any]:
    return {
        "pos_phase": cell.schedule.positive,
        "neg_phase": cell.schedule.negative,
        "lr": _rate(table, line, cell),
        "epochs": cell.epochs,
        "mean": cell.measured.mean,
        "std": cell.measured.std,
        "runs": cell.measured.runs,
        "devices": list(cell.measured.devices),
        "seeds": list(cell.measured.seeds),
        "published": cell.published,
        "published_learned": cell.published_learned,
        "learned": cell.measured.learned,
    }


def _rate(table: CureTable, line: CureLine, cell: CureCell) -> float:
    if line.name == PLAIN:
        return table.family.protocol.lr
    return table.family.rate_at(cell.schedule, NO_CURE if line.name == SAME_RATE else Cure.model_validate(line.name))


def _records(table: CureTable, costs: Sequence[Cost]) -> Iterator[tuple[object, ...]]:
    """A row of CSV for each cell of each line, under `FIELDS`."""
    protocol = table.family.protocol
    for row, line, cell in table.cells:
        found = cell.measured
        cost = next((c for c in costs if c.cure == line.name and c.features == row.data.features), None)
        yield (
            "cures", protocol.label, table.family.rate, protocol.data, table.metric, row.dataset, row.negatives,
            cell.schedule.positive, cell.schedule.negative, line.name, rounded(_rate(table, line, cell)), cell.epochs,
            rounded(found.mean), rounded(found.std), found.runs, cell.published,
            "" if found.learned is None else json.dumps(found.learned),
            cost and cost.memory, cost and rounded(cost.time),
        )  # fmt: skip
