"""The figure of phases: accuracy against the length of the positive phase, measured and in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ffcli.errors import BadOption
from ffcli.plots import Drawn, Figure, ManyRuns
from ffcli.plots.style import (
    BLACK,
    BLUE,
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

    from ffcli.report.cells import Cell, TableRow
    from ffcli.report.tables import Table

LOOKS = (("n:n", BLUE, "o"), ("n:1", VERMILION, "s"))
UNSEPARATED_LOOK = ("unseparated", BLACK, "D")
"""Name, colour and marker of the schedules of each table, and of those in both."""

UNSEPARATED_PLACE = 0.4
"""Where unseparated runs are drawn on the logarithmic axis of hours, left of 1."""

COLUMNS = 2
HEIGHT, MARGIN = 1.9, 1.6
"""Of a panel, and of what surrounds the panels, in inches."""


def draw(given: ManyRuns) -> Drawn:
    """Draw tables 1 and 2 of the first protocol.

    Raises:
        BadOption: if nothing is measured.
    """
    from ffcli.report.cures import set_aside
    from ffcli.report.protocol import default_protocol, select, with_label
    from ffcli.report.tables import caption, draw_tables, table_json

    runs, _ = set_aside(select(given.runs, preset=given.preset))
    tables = draw_tables(
        runs,
        given.outcomes_at,
        default=default_protocol(given.preset),
        metric=given.metric,
        epochs=given.epochs,
        with_published=given.with_published,
        evaluated=given.evaluated,
    )
    tables = with_label(tables, given.protocol, lambda table: table.protocol.label)
    pairs = zip(tables[::2], tables[1::2], strict=True)
    drawable = [pair for pair in pairs if any(map(_is_measured, pair[0].rows + pair[1].rows))]
    if not drawable:
        raise BadOption("no finished runs here: `ff sweep --table 1 --table 2` makes them")
    pair, *others = drawable
    remark = f"{counted(len(others), 'more protocol')} not drawn: --protocol, --data or --tag chooses another"
    return Drawn(
        [_page(pair)],
        text=caption(*pair),
        data={"tables": [table_json(table) for table in pair]},
        remark=remark if others else "",
    )


FIGURE = Figure(
    "phases",
    "Draw accuracy against phase length, measured and in the paper: tables 1 and 2 of [bold]ff report[/].",
    of_runs=draw,
)


def _page(pair: tuple[Table, Table]) -> Page:
    from ffcli.report.tables import caption

    rows = [both for both in zip(pair[0].rows, pair[1].rows, strict=True) if any(map(_is_measured, both))]
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    repeated = any(cell.measured.std is not None for both in rows for row in both for cell in row.cells)
    bars = "\nbars: standard deviation over the seeds" if repeated else ""
    figure = make_figure(HEIGHT * lines + MARGIN, caption(*pair) + bars)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    drawn = [cell.schedule.positive for both in rows for row in both for cell in row.cells if _is_drawn(cell)]
    separated = sorted({length for length in drawn if length})
    for axis, both in zip(axes, rows, strict=False):
        _draw_cells(axis, [cell for cell in both[0].cells if not cell.schedule.separated], *UNSEPARATED_LOOK)
        for row, look in zip(both, LOOKS, strict=True):
            _draw_cells(axis, [cell for cell in row.cells if cell.schedule.separated], *look)
        axis.set_title(plain(f"{both[0].dataset}, {both[0].negatives}"), loc="left")
        axis.set_xscale("log", base=2)
        axis.set_xticks(
            [*([UNSEPARATED_PLACE] if 0 in drawn else []), *separated],
            labels=[*(["none"] if 0 in drawn else []), *spaced_labels(separated)],
        )
        axis.minorticks_off()
        accuracy_axis(axis)
    finish_grid(list(axes), len(rows), columns, "positive hours n", "accuracy (%)")
    legend_below(figure, labelled(axes), columns=2)
    return figure


def _draw_cells(axis: Axes, cells: Sequence[Cell], name: str, color: str, marker: str) -> None:
    """Draw one line: measured cells with filled markers and the deviation over the seeds, the paper with open ones."""
    joined = any(cell.schedule.separated for cell in cells)
    published = [(_place(cell), cell.published) for cell in cells if cell.published is not None]
    if published:
        axis.plot(
            *zip(*published, strict=True), linestyle="--" * joined, color=color, marker=marker, markerfacecolor="white",
            linewidth=1, label=f"{name}, paper",
        )  # fmt: skip
    measured = [cell for cell in cells if cell.measured.mean is not None]
    if measured:
        axis.errorbar(
            list(map(_place, measured)),
            [cell.measured.mean or 0 for cell in measured],
            [cell.measured.std or 0 for cell in measured],
            color=color,
            linestyle="-" * joined,
            marker=marker,
            label=f"{name}, measured",
        )


def _place(cell: Cell) -> float:
    return cell.schedule.positive or UNSEPARATED_PLACE


def _is_drawn(cell: Cell) -> bool:
    return cell.measured.mean is not None or cell.published is not None


def _is_measured(row: TableRow) -> bool:
    return any(cell.measured.mean is not None for cell in row.cells)
