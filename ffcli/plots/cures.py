"""The picture of the table of cures: accuracy against the length of balanced phases, a panel for each data set and
negatives."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ffcli.plots.style import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, plain
from ffcli.report.cells import Cell
from ffcli.report.cure_words import caption, line_name, paper_line
from ffcli.report.cures import PLAIN, SAME_RATE, CureCell, CureRow, CureTable
from ffcli.schedule import UNSEPARATED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, CHANCE = "#000000", "#999999"
PLAINS = {PLAIN: (VERMILION, "s"), SAME_RATE: (ORANGE, "^")}
CURES = ((BLUE, "o"), (GREEN, "D"), (PURPLE, "v"), (SKY_BLUE, "P"))
"""Colours, and markers, which are told apart without any."""

REFERENCES = ("paper", "plain, unseparated", "chance")

COLUMNS = 2
WIDTH, HEIGHT, MARGIN = 4.4, 3.0, 0.9
"""Of a panel, and of what stands around them, in inches."""

LETTERS = 70
"""Of the caption over one panel."""


def save_plot(table: CureTable, file: Path) -> None:
    """Write the picture in the format that the file's name ends in. Raises OSError where it cannot be written."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(table.rows))
    rows = -(-len(table.rows) // columns)
    figure = Figure(figsize=(WIDTH * max(columns, 1.5), HEIGHT * rows + MARGIN), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axis, row in zip(axes, table.rows, strict=False):
        _draw(axis, table, row)
    for number, axis in enumerate(axes):
        axis.set_visible(number < len(table.rows))
        axis.tick_params(labelbottom=number + columns >= len(table.rows))
        if number + columns >= len(table.rows):
            axis.set_xlabel("hours awake, then as many asleep")
        if number % columns == 0:
            axis.set_ylabel("test accuracy (%)")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    order = [REFERENCES[0], *(line_name(table, name) for name in (PLAIN, SAME_RATE, *table.cures)), *REFERENCES[1:]]
    shown = [label for label in order if label in handles]
    figure.legend(
        [handles[label] for label in shown], shown, loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )
    figure.suptitle(plain(textwrap.fill(caption(table), LETTERS * columns)), fontsize="small", color="#444444")
    figure.savefig(file)


def lengths(table: CureTable) -> list[int]:
    """Of the balanced phases."""
    return [s.positive for s in table.schedules if s.separated and s.positive == s.negative]


def _draw(axis: Axes, table: CureTable, row: CureRow) -> None:
    looks = PLAINS | {name: CURES[i % len(CURES)] for i, name in enumerate(table.cures)}
    printed = [(cell.schedule.positive, _or_gap(cell.published)) for cell in paper_line(row) if _balanced(cell)]
    if printed:
        axis.plot(*zip(*printed, strict=True), "--x", color=PAPER, linewidth=1, markersize=5, label=REFERENCES[0])
    for line in row.lines:
        cells = [cell for cell in line.cells if _balanced(cell)]
        if any(cell.measured.mean is not None for cell in cells):
            _draw_line(axis, cells, *looks[line.name], label=line_name(table, line.name))
    for cell in row.lines[0].cells:
        if cell.schedule == UNSEPARATED and cell.measured.mean is not None:
            axis.axhline(cell.measured.mean, linestyle="--", linewidth=1, color=CHANCE, label=REFERENCES[1])
    axis.axhline(row.chance, linestyle=":", linewidth=1.2, color=CHANCE, label=REFERENCES[2])
    at = lengths(table)
    axis.set_xscale("log", base=2)
    axis.set_xticks(at, labels=map(str, at))
    axis.minorticks_off()
    axis.set_ylim(0, 100)
    axis.set_yticks(range(0, 101, 20))
    axis.set_title(plain(f"{row.dataset}, {row.negatives}"), fontsize="medium", loc="left")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _balanced(cell: Cell) -> bool:
    return cell.schedule.separated and cell.schedule.positive == cell.schedule.negative


def _draw_line(axis: Axes, cells: Sequence[CureCell], color: str, marker: str, *, label: str) -> None:
    """The means, and the deviation over the seeds as bars."""
    axis.errorbar(
        [cell.schedule.positive for cell in cells],
        [_or_gap(cell.measured.mean) for cell in cells],
        [cell.measured.std or 0 for cell in cells],
        color=color,
        marker=marker,
        markersize=5,
        linewidth=1.6,
        capsize=3,
        label=label,
    )


def _or_gap(value: float | None) -> float:
    """No line leads across a length that was not measured."""
    return math.nan if value is None else value
