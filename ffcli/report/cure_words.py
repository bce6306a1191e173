"""How every format words the table of cures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ffcli.config import CURED_SCALING, NO_CURE, Cure
from ffcli.report.cells import Cell
from ffcli.report.cure_costs import Cost
from ffcli.report.cures import PLAIN, SAME_RATE, CureCell, CureLine, CureRow, CureTable
from ffcli.report.words import DATA, metric_words, published, seeds_words, value
from ffcli.settings import AUTO
from ffcli.text import counted

TITLE = "Cures: accuracy by phase length"

START = "ff train --dataset mnist --neg label --pos-phase 16 --balanced --cure gradient-memory"
"""What gives the first cured run."""

Reads = Iterable[tuple[CureRow, CureLine, CureCell]]


def line_name(table: CureTable, name: str) -> str:
    """`plain, lr 0.05`, `plain, same lr`, or the cure's own name."""
    return {PLAIN: f"plain, lr {table.family.protocol.lr:g}", SAME_RATE: "plain, same lr"}.get(name, name)


def paper_line(row: CureRow) -> tuple[Cell, ...]:
    """Cells with the paper's figures, which `published` words; empty where it has none of them."""
    cells = row.lines[0].cells
    return cells if any(map(published, cells)) else ()


def measured(line: CureLine, cell: CureCell) -> str:
    """`value`; nothing where there is nothing to run, for unseparated hours have no cure."""
    return value(cell) if cell.schedule.separated or line.name == PLAIN else ""


def caption(table: CureTable) -> str:
    """Family, data, metric, epochs, seeds and device in one line."""
    protocol, reads = table.family.protocol, _reads(table)
    cured = [cell.epochs or 0 for _, line, cell in reads if line.name != PLAIN]
    metric = metric_words(
        table.metric, max(cured, default=0), shortest=min(cured, default=0), held_out=protocol.holdout > 0
    )
    seeds = seeds_words(sorted({seed for _, _, cell in reads for seed in cell.measured.seeds}))
    rate = f"lr {table.family.rate}"
    if table.family.scaling != CURED_SCALING:
        rate += f", lr scaling {table.family.scaling}"
    if table.family.rate != AUTO and table.family.warmup:
        rate += f", warm-up of {counted(table.family.warmup, 'hour')}"
    parts = (protocol.label, rate, DATA[protocol.data], metric, seeds, protocol.device)
    return " · ".join(filter(None, parts))


def notes(table: CureTable, costs: Sequence[Cost]) -> list[str]:
    """What stands below the table: the rates, the epochs where they differ, runs that are not counted, the costs. One
    sentence each, without full stops."""
    reads = _reads(table)
    cured = [read for read in reads if read[1].name != PLAIN]
    plain = [read for read in reads if read[1].name == PLAIN]
    found = []
    if table.family.rate == AUTO:
        found.append(f"lr auto is {'; '.join(_rates(table))}; it rises over {counted(table.family.warmup, 'hour')}")
    if len({cell.epochs for _, _, cell in cured}) > 1:
        found.append(f"Epochs of the cured runs and of the plain ones at their rate: {_epochs(cured)}")
    if plain and {cell.epochs for _, _, cell in plain} != {cell.epochs for _, _, cell in cured}:
        found.append(f"Epochs of {line_name(table, PLAIN)}: {_epochs(plain)}")
    if table.family.rate == AUTO and not any(line.name == SAME_RATE for _, line, _ in reads):
        found.append("No plain run at these rates: the same command with --cure none --lr auto trains it")
    if short := [text for read in reads if (text := _short(table, *read))]:
        found.append(f"Not counted, for they are shorter: {'; '.join(short)}")
    return [*found, *map(_cost, costs)]


def _rates(table: CureTable) -> Iterable[str]:
    """`0.01 at 16:16 (plain, gradient-memory)`: cures by their rates, which most share."""
    names: dict[tuple[float, ...], list[str]] = defaultdict(list)
    separated = [schedule for schedule in table.schedules if schedule.separated]
    for name in ["plain", *table.cures]:
        cure = NO_CURE if name == "plain" else Cure.model_validate(name)
        names[tuple(table.family.rate_at(schedule, cure) for schedule in separated)].append(name)
    for rates, sharing in names.items():
        at = ", ".join(f"{rate:g} at {schedule}" for rate, schedule in zip(rates, separated, strict=True))
        yield f"{at} ({', '.join(sharing)})"


def _reads(table: CureTable) -> list[tuple[CureRow, CureLine, CureCell]]:
    return [read for read in table.cells if read[2].runs]


def _epochs(reads: Reads) -> str:
    """`20 at 1:1; 100 at 16:16, 64:64`: a column's where its rows agree, else each row's."""
    columns: dict[str, set[int | None]] = defaultdict(set)
    reads = sorted(reads, key=lambda read: (read[2].schedule.positive, read[2].schedule.negative))
    for _, _, cell in reads:
        columns[str(cell.schedule)].add(cell.epochs)
    if len({epochs for all_of in columns.values() for epochs in all_of}) == 1:
        return str(reads[0][2].epochs)
    places: dict[int, dict[str, None]] = defaultdict(dict)
    for row, _, cell in reads:
        at = str(cell.schedule)
        places[cell.epochs or 0][at if len(columns[at]) == 1 else f"{row.dataset} {row.negatives} {at}"] = None
    return "; ".join(f"{epochs} at {', '.join(at)}" for epochs, at in sorted(places.items()))


def _short(table: CureTable, row: CureRow, line: CureLine, cell: CureCell) -> str:
    """Named where others are counted; else the cell itself says how far the longest got."""
    short = [run for run in cell.runs if run.epochs_done < (cell.epochs or 0)]
    if not cell.measured.runs or not short:
        return ""
    runs = ", ".join(f"seed {run.config.seed} ({counted(run.epochs_done, 'epoch')})" for run in short)
    return f"{row.dataset} {row.negatives} {cell.schedule} {line_name(table, line.name)} {runs}"


def _cost(cost: Cost) -> str:
    memory = f"{cost.cure} keeps {cost.memory:,} bytes ({', '.join(cost.datasets)})"
    if cost.time is None:
        return f"{memory}; time an hour against plain: -"
    what = "evaluation included" if cost.evaluated else "without evaluation"
    return f"{memory}; time an hour against plain: {cost.time:.2f} ({counted(cost.cells, 'cell')}, {what})"
