"""The table of cures on a terminal: a block for each data set and negatives, a line for the paper, for plain runs and
for each cure, the best of a column in bold.

It takes the first layout that fits the terminal: phases across, phases down, or one list a cell. Numbers are never cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ffcli.report.cells import Cell
from ffcli.report.cure_costs import Cost
from ffcli.report.cure_words import START, TITLE, caption, line_name, measured, notes, paper_line
from ffcli.report.cures import CureRow, CureTable
from ffcli.report.grids import aligned, fitting, joined, make_grid
from ffcli.report.words import NOT_LEARNED, NOT_RUN, TIMES, published, spread


def show(tables: Sequence[tuple[CureTable, Sequence[Cost]]], console: Console) -> None:
    """Print the tables, each with its caption and what stands below it, and what the signs mean."""
    for table, costs in tables:
        console.print(Text(TITLE, "bold"))
        console.print(Text(caption(table), "italic"))
        for grid in fitting((layout(table) for layout in LAYOUTS), console):
            console.print(grid)
            console.print()
        for line in notes(table, costs):
            console.print(Text(line))
        console.print()
    if tables:
        console.print(_legend([table for table, _ in tables]))
    else:
        console.print(Text("No cured runs here yet. To start:", "bold"))
        console.print(Text(f"  {START}", "cyan"), soft_wrap=True)


Lines = list[tuple[Text, list[tuple[Text, Text]]]]
"""Name, and value and spread of each cell."""


def _lines(table: CureTable, row: CureRow) -> Lines:
    lines: Lines = []
    if cells := paper_line(row):
        lines.append((Text("paper", "dim"), [(aligned(published(cell), "dim"), Text()) for cell in cells]))
    best = [max((_mean(line.cells[at]) for line in row.lines), default=0) for at in range(len(table.schedules))]
    for line in row.lines:
        texts = [
            (aligned(measured(line, cell), _style(cell, top)), Text(spread(cell), "dim"))
            for cell, top in zip(line.cells, best, strict=True)
        ]
        lines.append((Text(line_name(table, line.name)), texts))
    return lines


def _mean(cell: Cell) -> float:
    return cell.measured.mean if cell.measured.mean is not None and cell.measured.learned else -1


def _style(cell: Cell, best: float) -> str:
    if cell.measured.runs:
        return "bold" if _mean(cell) == best else ""
    return "cyan" if cell.measured.short else "dim"


def _across(table: CureTable, between: str = " ") -> list[Grid]:
    grid = make_grid(["", *map(str, table.schedules)], leading=0)
    for number, row in enumerate(table.rows):
        if number:
            grid.add_row()
        grid.add_row(_name(row))
        for name, texts in _lines(table, row):
            grid.add_row(Text("  ") + name, *(_stacked(pair, between) for pair in texts))
    return [grid]


def _across_narrow(table: CureTable) -> list[Grid]:
    return _across(table, "\n")


def _down(table: CureTable, between: str = " ") -> list[Grid]:
    grids = []
    for row in table.rows:
        lines = _lines(table, row)
        heads = (name.plain.replace(", ", "\n").replace("-", "-\n") for name, _ in lines)
        grid = make_grid([_name(row), *heads], leading=0)
        for schedule, *pairs in zip(table.schedules, *(texts for _, texts in lines), strict=True):
            grid.add_row(str(schedule), *(_stacked(pair, between) for pair in pairs))
        grids.append(grid)
    return grids


def _down_narrow(table: CureTable) -> list[Grid]:
    return _down(table, "\n")


def _lists(table: CureTable) -> list[Grid]:
    grids = []
    for row in table.rows:
        lines = _lines(table, row)
        for at, schedule in enumerate(table.schedules):
            grid = make_grid([Text(f"{row.dataset} {row.negatives} {schedule}"), ""], leading=0)
            for name, texts in lines:
                if (said := joined(*texts[at])).plain.strip():
                    grid.add_row(name, said)
            grids.append(grid)
    return grids


LAYOUTS = (_across, _across_narrow, _down, _down_narrow, _lists)


def _name(row: CureRow) -> Text:
    return Text.assemble((row.dataset, "bold"), (f" {row.negatives}", "not bold"))


def _stacked(pair: tuple[Text, Text], between: str) -> Text:
    return Text(between).join(text for text in pair if text)


def _legend(tables: Sequence[CureTable]) -> Text:
    cells = [cell for table in tables for _, _, cell in table.cells]
    shown = {measured(line, cell) for table in tables for _, line, cell in table.cells} | set(map(published, cells))
    signs = ["plain: no cure; same lr: at the cured runs' rate and epochs"]
    if any(map(published, cells)):
        signs.append("paper: one seed, no cure, 50 updates a batch, 500 epochs")
    if any(map(spread, cells)):
        signs.append(f"± sample deviation, {TIMES} runs")
    if NOT_LEARNED in shown:
        signs.append(f"{NOT_LEARNED} never left chance")
    if any(cell.measured.short for cell in cells):
        signs.append("n/N ep: not there yet")
    if NOT_RUN in shown:
        signs.append(f"{NOT_RUN} not run")
    return Text("; ".join(signs), "dim")
