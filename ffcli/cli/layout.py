"""Tables that fit the terminal: the widest layout in which nothing is cut."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

Row = dict[str, Text]
"""A table's cells by their column's title."""

LONGEST_WORD = 12
"""A longer one, such as a path, may be broken where its column is wrapped."""


def fitting_table(
    layouts: Sequence[Sequence[str]],
    rows: Sequence[Row],
    *,
    width: int,
    right: Container[str] = (),
    wrapped: Container[str] = (),
) -> Table:
    """`rows` under the first of `layouts` (titles of columns, the widest layout first) that `width` columns hold, else
    under the last. Cells of the columns `wrapped` may break between words, those of `right` stand to the right."""
    titles = next((layout for layout in layouts if _needed(layout, rows, wrapped) <= width), layouts[-1])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        no_wrap = title not in wrapped
        table.add_column(title, justify="right" if title in right else "left", no_wrap=no_wrap, overflow="fold")
    for row in rows:
        table.add_row(*(row[title] for title in titles))
    return table


def _needed(titles: Sequence[str], rows: Sequence[Row], wrapped: Container[str]) -> int:
    def of_column(title: str) -> int:
        texts: Iterable[str] = [title, *(row[title].plain for row in rows)]
        if title in wrapped:
            texts = [word[:LONGEST_WORD] for text in texts for word in text.split()]
        return max(map(cell_len, texts))

    return sum(map(of_column, titles)) + 2 * (len(titles) - 1)
