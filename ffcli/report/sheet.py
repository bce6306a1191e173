"""One model for every table that a command prints.

A command builds a `Document` of `Sheet`s; `ffcli.report.writers` turns it into output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from ffcli.report.colours import Role

NOT_RUN = "·"
NOT_LEARNED = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
OUTSIDE = "\N{DAGGER}"


class Span(NamedTuple):
    """A piece of text with one role."""

    text: str
    role: Role = ""


NOTHING = Span("")


class Item(NamedTuple):
    """One entry of a table."""

    text: str = ""
    role: Role = ""
    """What the text is, which decides its colour."""
    spread: str = ""
    """Follows the text, or is printed below it if the terminal is narrow."""
    published: str = ""
    """The paper's figure, on a line of its own below the text."""
    difference: Span = NOTHING
    """Shown after the paper's figure."""

    @property
    def flat(self) -> str:
        """The whole entry on one line: `87.5 ±0.7 ×2 (89, -1.5)`."""  # noqa: RUF002
        figures = ", ".join(filter(None, (self.published, self.difference.text)))
        return " ".join(filter(None, (self.text, self.spread, f"({figures})" if figures else "")))


class Column(NamedTuple):
    """One column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    least: int = 0
    """Characters to which entries may be shortened, or in which they may wrap, on a narrow terminal; 0 for neither."""


class Line(NamedTuple):
    """One line of a table, with an item for each column of its sheet."""

    items: tuple[Item, ...]
    name: str = ""


class Block(NamedTuple):
    """Lines that belong together under a name of one or more parts, such as `mnist` and `label`."""

    lines: tuple[Line, ...]
    name: tuple[str, ...] = ()


class Sheet(NamedTuple):
    """One table with its title, caption and notes."""

    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    heads: tuple[str, ...] = ()
    """Titles of the columns that hold the parts of a block's name, then of the line names if there are any."""
    number: str = ""
    """Number in the heading, such as `Table 1`."""
    title: str = ""
    caption: str = ""
    layouts: tuple[tuple[str, ...], ...] = ()
    """Titles of the columns to show, from the widest terminal to the narrowest; empty means all. Other formats
    show the first layout."""
    transposable: bool = False
    """Whether all columns have the same kind of entry, such as phase lengths. A narrow terminal may transpose them."""
    notes: tuple[tuple[str, ...], ...] = ()
    """Paragraphs of sentences below the table. The sentences have no full stops."""
    hints: tuple[Span, ...] = ()
    """Lines below the notes, on a terminal only."""

    @property
    def heading(self) -> str:
        return ": ".join(filter(None, (self.number, self.title)))

    @property
    def has_line_names(self) -> bool:
        return any(line.name for block in self.blocks for line in block.lines)

    def shown(self, layout: Sequence[str]) -> list[int]:
        """Return the places of the columns that `layout` names, in its order."""
        places = {column.title: place for place, column in enumerate(self.columns)}
        return [places[title] for title in layout]


class Document(NamedTuple):
    """Output of one command."""

    sheets: tuple[Sheet, ...]
    intro: tuple[str, ...] = ()
    """Lines before the first table."""
    legend: tuple[Span, ...] = ()
    """Lines after the last table, on a terminal only."""
    data: Any = None
    """Content of the JSON format."""
    fields: tuple[str, ...] = ()
    """Columns of the CSV; if empty, CSV contains the text of the sheets."""
    records: Sequence[Sequence[object]] = ()
    """Rows of the CSV."""


def make_list(
    layouts: Sequence[Sequence[str]],
    blocks: Mapping[str, Iterable[Mapping[str, str | Item]]],
    *,
    right: Iterable[str] = (),
    least: Mapping[str, int] = MappingProxyType({}),
    **attributes: Any,
) -> Sheet:
    """Return a sheet of lines that are described by the titles of their columns.

    Args:
        layouts: titles of the columns to show, from the widest terminal to the narrowest.
        blocks: lines by the name of their block, empty for a table without blocks. A line has its text or item by
            column title; a missing one is empty.
        right: titles of the columns that are aligned to the right.
        least: characters to which entries may be shortened, or in which they may wrap, by column title.
        attributes: other attributes of the sheet.
    """
    titles = list(dict.fromkeys(chain.from_iterable(layouts)))
    right = set(right)
    return Sheet(
        columns=tuple(Column(title, "right" if title in right else "left", least.get(title, 0)) for title in titles),
        blocks=tuple(
            Block(tuple(_line(line, titles) for line in lines), (name,) if name else ())
            for name, lines in blocks.items()
        ),
        heads=("",) if any(blocks) else (),
        layouts=tuple(tuple(layout) for layout in layouts),
        **attributes,
    )


def _line(line: Mapping[str, str | Item], titles: Iterable[str]) -> Line:
    entries = (line.get(title, "") for title in titles)
    return Line(tuple(Item(entry) if isinstance(entry, str) else entry for entry in entries))
