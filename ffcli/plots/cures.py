"""The figure of cures: accuracy against the length of balanced phases, a panel for each dataset and negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ffcli.errors import BadOption
from ffcli.plots import Drawn, Figure, ManyRuns
from ffcli.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    accuracy_axis,
    finish_grid,
    labelled,
    legend_below,
    make_figure,
    plain,
    spaced_labels,
)
from ffcli.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

    from ffcli.report.cells import Cell
    from ffcli.report.cures import CureCell, CureRow, CureTable

PLAIN_LOOKS = ((VERMILION, "s"), (ORANGE, "^"))
CURE_LOOKS = ((BLUE, "o"), (GREEN, "D"), (PURPLE, "v"), (SKY_BLUE, "P"))
"""Colour and marker of each line; the markers are distinct without the colours."""

PAPER, UNSEPARATED_PLAIN, CHANCE = "paper", "plain, unseparated", "chance"

COLUMNS = 2
HEIGHT, MARGIN = 1.9, 1.7
"""Of a panel, and of what surrounds the panels, in inches."""


def draw(given: ManyRuns) -> Drawn:
    """Draw the first table of cures that has balanced phases.

    Raises:
        BadOption: if there is none.
    """
    from ffcli.report.cures import START, cure_costs, cures_caption, cures_json, draw_cures
    from ffcli.report.protocol import with_label

    tables = draw_cures(
        given.runs,
        given.outcomes_at,
        preset=given.preset,
        metric=given.metric,
        epochs=given.epochs,
        with_published=given.with_published,
    )
    tables = with_label(tables, given.protocol, lambda table: table.family.label)
    drawable = [table for table in tables if table.lengths]
    if not drawable:
        raise BadOption(f"no cured runs with balanced phases here: `{START}` makes one")
    table, *others = drawable
    remark = f"{counted(len(others), 'more table')} of cures not drawn: --protocol, --data or --tag chooses another"
    return Drawn(
        [draw_table(table)],
        text=cures_caption(table),
        data={"table": cures_json(table, cure_costs(table, given.timed))},
        remark=remark if others else "",
    )


FIGURE = Figure(
    "cures",
    "Draw accuracy against phase length, plain and cured: the first table of [bold]ff report --table cures[/].",
    of_runs=draw,
)


def draw_table(table: CureTable) -> Page:
    """Return the figure of a table that has rows."""
    from ffcli.report.cures import PLAIN, SAME_RATE, cures_caption, line_name

    columns = min(COLUMNS, len(table.rows))
    rows = -(-len(table.rows) // columns)
    figure = make_figure(HEIGHT * rows + MARGIN, cures_caption(table))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axis, row in zip(axes, table.rows, strict=False):
        _draw_panel(axis, table, row)
    finish_grid(list(axes), len(table.rows), columns, "hours of each phase", "accuracy (%)")
    found = labelled(axes)
    lines = (line_name(table, name) for name in (PLAIN, SAME_RATE, *table.cures))
    order = (PAPER, *lines, UNSEPARATED_PLAIN, CHANCE)
    legend_below(figure, {label: found[label] for label in order if label in found}, columns=2)
    return figure


def _draw_panel(axis: Axes, table: CureTable, row: CureRow) -> None:
    from ffcli.report.cures import PLAIN, SAME_RATE, line_name
    from ffcli.schedule import UNSEPARATED

    looks = dict(zip((PLAIN, SAME_RATE), PLAIN_LOOKS, strict=True))
    looks |= {name: CURE_LOOKS[i % len(CURE_LOOKS)] for i, name in enumerate(table.cures)}
    printed = [(cell.schedule.positive, _or_gap(cell.published)) for cell in row.paper if _is_balanced(cell)]
    if printed:
        axis.plot(*zip(*printed, strict=True), "--x", color=BLACK, linewidth=1, label=PAPER)
    for line in row.lines:
        cells = [cell for cell in line.cells if _is_balanced(cell)]
        if any(cell.measured.mean is not None for cell in cells):
            _draw_line(axis, cells, *looks[line.name], label=line_name(table, line.name))
    for cell in row.lines[0].cells:
        if cell.schedule == UNSEPARATED and cell.measured.mean is not None:
            axis.axhline(cell.measured.mean, linestyle="--", linewidth=1, color=LIGHT_GREY, label=UNSEPARATED_PLAIN)
    axis.axhline(row.chance, linestyle=":", linewidth=1.2, color=LIGHT_GREY, label=CHANCE)
    axis.set_xscale("log", base=2)
    axis.set_xticks(table.lengths, labels=spaced_labels(table.lengths))
    axis.minorticks_off()
    accuracy_axis(axis)
    axis.set_title(plain(f"{row.dataset}, {row.negatives}"), loc="left")


def _is_balanced(cell: Cell) -> bool:
    return cell.schedule.separated and cell.schedule.positive == cell.schedule.negative


def _draw_line(axis: Axes, cells: Sequence[CureCell], color: str, marker: str, *, label: str) -> None:
    """The means, with the standard deviation over the seeds as bars."""
    axis.errorbar(
        [cell.schedule.positive for cell in cells],
        [_or_gap(cell.measured.mean) for cell in cells],
        [cell.measured.std or 0 for cell in cells],
        color=color,
        marker=marker,
        label=label,
    )


def _or_gap(value: float | None) -> float:
    """A missing value as NaN, at which matplotlib interrupts the line."""
    return math.nan if value is None else value
