"""Grids of numbers that fit a terminal: the first layout in which nothing is cut."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

UNBOUNDED = 10_000


def fitting(layouts: Iterable[list[Grid]], console: Console) -> list[Grid]:
    """The first of `layouts` (each one or more grids) that the console's width holds, else the last."""
    options = console.options.update(width=UNBOUNDED)
    grids: list[Grid] = []
    for grids in layouts:
        if all(Measurement.get(console, options, grid).maximum <= console.width for grid in grids):
            break
    return grids


def make_grid(headings: Iterable[str | Text], *, leading: int) -> Grid:
    """An empty grid, with `leading` blank lines between its rows."""
    grid = Grid(
        box=box.SIMPLE_HEAD, leading=leading, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False, show_edge=False
    )
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    return grid


def joined(*texts: Text) -> Text:
    """Those that are not empty, with a blank between."""
    return Text(" ").join(text for text in texts if text)


def aligned(number: str, style: str) -> Text:
    """Left-justified, with the decimal points of two-digit numbers below each other."""
    whole, point, decimals = number.partition(".")
    return Text(f"{whole:>2}{point + decimals:<2}", style)
