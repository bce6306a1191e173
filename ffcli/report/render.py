"""The tables on a terminal: measured, and below it the paper's figure with the difference.

A table takes the first layout that fits the terminal: phases across, phases down, or one list a row. Numbers are
never cut, and every colour stands beside the signed number that it colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ffcli.report.cells import Cell, Measured, Row
from ffcli.report.filling import sweep_command
from ffcli.report.grids import aligned, fitting, joined, make_grid
from ffcli.report.tables import Table
from ffcli.report.words import (
    NOT_LEARNED,
    NOT_RUN,
    TIMES,
    agreement_sentences,
    also_measured,
    caption,
    difference,
    published,
    spread,
    title,
    value,
)
from ffcli.text import counted

NEAR, FAR = 3, 10
"""Points of difference up to which a cell is green, and yellow; red beyond."""


def show(tables: Sequence[Table], console: Console) -> None:
    """Print the tables, each with its caption and the command that fills its next cell, and what the signs mean."""
    empty = all(cell.measured == Measured() for cell in _cells(tables))
    for table in tables:
        console.print(Text(title(table), "bold"))
        console.print(Text(caption(table), "italic"))
        for grid in fitting((layout(table) for layout in LAYOUTS), console):
            console.print(grid)
            console.print()
        below = [f"Also measured, in neither table: {also_measured(table)}"] if table.others else []
        below += agreement_sentences(table)
        for line in below:
            console.print(Text(line))
        if table.missing and not empty:
            _show_missing(table, console)
        if below or (table.missing and not empty):
            console.print()
    if legend := _legend(list(_cells(tables))):
        console.print(legend)
    if empty:
        console.print(Text("\nNothing is measured yet. To start:", "bold"))
        _show_command(tables[0].next_command, console)


def _cells(tables: Iterable[Table]) -> Iterable[Cell]:
    return (cell for table in tables for row in (*table.rows, *table.others) for cell in row.cells)


def _show_missing(table: Table, console: Console) -> None:
    count = f"{len(table.missing)} of {counted(sum(len(row.cells) for row in table.rows), 'cell')} not yet run"
    if table.next_command is None:
        console.print(Text(f"{count}; an earlier version of the algorithm made this table: nothing can be added."))
        return
    if sweep := sweep_command(table):
        console.print(Text(f"{count}; they are filled by:"))
    else:
        row, cell = table.missing[0]
        console.print(Text(f"{count}; the first, {row.dataset} {row.negatives} {cell.schedule}, is filled by:"))
    _show_command(sweep or table.next_command, console)


def _show_command(command: str | None, console: Console) -> None:
    console.print(Text(f"  {command}", "cyan"), soft_wrap=True)


def _across(table: Table, inline: bool = True) -> list[Grid]:
    grid = make_grid(["", *map(str, table.schedules)], leading=1)
    for row in table.rows:
        grid.add_row(_name(row), *_stacks(row.cells, inline))
    return [grid]


def _across_narrow(table: Table) -> list[Grid]:
    return _across(table, inline=False)


def _down(table: Table, inline: bool = True) -> list[Grid]:
    grid = make_grid(["", *map(_name, table.rows)], leading=1)
    for schedule, *cells in zip(table.schedules, *(row.cells for row in table.rows), strict=True):
        grid.add_row(Text(str(schedule), "bold"), *_stacks(cells, inline))
    return [grid]


def _down_narrow(table: Table) -> list[Grid]:
    return _down(table, inline=False)


def _lists(table: Table) -> list[Grid]:
    return [_list(row) for row in table.rows]


def _list(row: Row) -> Grid:
    figures = any(map(published, row.cells))
    grid = make_grid([Text(f"{row.dataset} {row.negatives}"), "", *(["paper", ""] if figures else [])], leading=0)
    for cell in row.cells:
        beside = [aligned(published(cell), "dim"), _difference(cell)] if figures else []
        grid.add_row(str(cell.schedule), joined(_value(cell), _spread(cell)), *beside)
    return grid


def _name(row: Row) -> Text:
    return Text.assemble((row.dataset, "bold"), "\n", (row.negatives, "not bold"))


def _stacks(cells: Iterable[Cell], inline: bool) -> list[Text]:
    """The cells of one grid row, each with the lines that any of them has, so that figures stand beside figures."""
    stacks = []
    for cell in cells:
        figures = joined(aligned(published(cell), "dim"), _difference(cell))
        measured = [joined(_value(cell), _spread(cell))] if inline else [_value(cell), _spread(cell)]
        stacks.append([*measured, figures])
    used = [any(line.plain.strip() for line in lines) for lines in zip(*stacks, strict=True)]
    return [Text("\n").join(line for line, use in zip(lines, used, strict=True) if use) for lines in stacks]


def _value(cell: Cell) -> Text:
    return aligned(value(cell), "bold" if cell.measured.runs else "cyan" if cell.measured.short else "dim")


def _spread(cell: Cell) -> Text:
    return Text(spread(cell), "dim")


def _difference(cell: Cell) -> Text:
    distance = abs(cell.difference or 0)
    return Text(difference(cell), "green" if distance <= NEAR else "yellow" if distance <= FAR else "red")


LAYOUTS = (_across, _across_narrow, _down, _down_narrow, _lists)


def _legend(cells: Sequence[Cell]) -> Text:
    shown = {value(cell) for cell in cells}
    signs = []
    if any(cell.published_learned is not None for cell in cells):
        signs.append("next to each accuracy the paper's (one seed) and the difference")
        signs.append(f"green within {NEAR} points, yellow within {FAR}, red beyond")
    if any(map(spread, cells)):
        signs.append(f"± sample deviation, {TIMES} runs")
    if NOT_LEARNED in shown | {published(cell) for cell in cells}:
        signs.append(f"{NOT_LEARNED} never left chance")
    if any(cell.measured.short for cell in cells):
        signs.append("n/N ep: not there yet")
    if NOT_RUN in shown:
        signs.append(f"{NOT_RUN} not run")
    return Text("; ".join(signs), "dim")
