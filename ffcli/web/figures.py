"""The schedule figure of the page: accuracy against the length of the positive phase, measured and in the paper.

It shows the same as `ffcli.plots.phases`, but as bare coordinates that the template draws: the page's style sheet
colours them for light, dark and print, and the page needs no matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log2
from typing import NamedTuple

from ffcli.report.cells import Cell

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 40
"""Size of a panel and of what surrounds its axes, in pixels."""

KINDS = {1: "balanced", 2: "single"}
"""Name of the schedules of each table: n:n, and n:1."""

MIN_SPAN = 4
"""The shortest axis, in doublings."""

JITTER = 0.06
"""How far the marks of the two tables stand apart, in doublings: their schedules 1:1 are the same runs."""


class Mark(NamedTuple):
    x: float
    y: float
    kind: str
    published: bool
    text: str
    """Schedule and accuracy."""
    low: float | None = None
    high: float | None = None
    """Ends of the bar of one standard deviation; None without one."""


class Curve(NamedTuple):
    kind: str
    published: bool
    points: str


class Panel(NamedTuple):
    """One dataset with one kind of negatives. Coordinates are in pixels."""

    title: str
    summary: str
    """What the panel shows, in words."""
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def phases_panel(title: str, tables: Mapping[int, Sequence[Cell]]) -> Panel | None:
    """Return the panel of one row of the paper's tables; None if nothing is measured.

    Args:
        title: dataset and negatives.
        tables: the cells of the row by the number of their table.
    """
    cells = [(number, cell) for number, row in tables.items() for cell in row]
    if all(cell.measured.mean is None for _, cell in cells):
        return None
    drawn = [cell for _, cell in cells if cell.measured.mean is not None or cell.published is not None]
    lengths = sorted({cell.schedule.positive for cell in drawn if cell.schedule.separated})
    x = _Axis(lengths, has_unseparated=any(not cell.schedule.separated for cell in drawn))
    marks: dict[tuple[object, ...], Mark] = {}
    curves = []
    for number, row in tables.items():
        for published in (True, False):
            found = [mark for cell in row if (mark := _mark(cell, number, published, x))]
            marks |= {(mark.kind, mark.x, mark.y, published): mark for mark in found}
            joined = [mark for mark in found if mark.kind != "unseparated"]
            if len(joined) > 1:
                curves.append(Curve(KINDS[number], published, " ".join(f"{m.x:g},{m.y:g}" for m in joined)))
    return Panel(
        title,
        _summary(cell for _, cell in cells),
        x_ticks=x.ticks(),
        y_ticks=tuple((_y(value), str(value)) for value in range(0, 101, 20)),
        curves=tuple(curves),
        marks=tuple(marks.values()),
    )


class _Axis:
    """A logarithmic axis of hours, with a place for unseparated runs left of it."""

    def __init__(self, lengths: Sequence[int], *, has_unseparated: bool) -> None:
        self.lengths = lengths
        self.none = log2(lengths[0]) - 1.2 if lengths and has_unseparated else 0.0
        self.has_unseparated = has_unseparated
        ends = [*([self.none] if has_unseparated else []), *(log2(n) for n in (*lengths[:1], *lengths[-1:]))]
        margin = max(0.3, (MIN_SPAN - (max(ends) - min(ends))) / 2)
        self.first, self.last = min(ends) - margin, max(ends) + margin

    def __call__(self, length: int, shift: float = 0) -> float:
        value = log2(length) + shift if length else self.none
        share = (value - self.first) / (self.last - self.first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        none = ((self(0), "none"),) if self.has_unseparated else ()
        spaced = -(-len(self.lengths) // 9)
        return (*none, *((self(n), str(n) if place % spaced == 0 else "") for place, n in enumerate(self.lengths)))


def _mark(cell: Cell, number: int, published: bool, x: _Axis) -> Mark | None:
    value = cell.published if published else cell.measured.mean
    if value is None:
        return None
    kind = KINDS[number] if cell.schedule.separated else "unseparated"
    std = None if published else cell.measured.std
    spread = "" if std is None else f" ±{std:.1f}"
    return Mark(
        x(cell.schedule.positive, JITTER if number == 2 else -JITTER),
        _y(value),
        kind,
        published,
        f"{cell.schedule} {'in the paper' if published else 'measured'}: {value:g}"
        if published
        else f"{cell.schedule} measured: {value:.1f}{spread}",
        *(() if std is None else (_y(value - std), _y(value + std))),
    )


def _y(percent: float) -> float:
    share = min(max(percent, 0.0), 100.0) / 100
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _summary(cells: Iterable[Cell]) -> str:
    found = {str(cell.schedule): cell.measured.mean for cell in cells if cell.measured.mean is not None}
    return "accuracy in percent by schedule: " + ", ".join(f"{name} {mean:.1f}" for name, mean in found.items())
