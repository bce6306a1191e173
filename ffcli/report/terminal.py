"""Draw sheets on a terminal, each in the widest layout in which nothing is cut.

A table whose columns are alike (phase lengths) is drawn across, then with the spread of each entry below it, then
transposed, then as one list for each block. Any other table leaves out columns according to its `layouts`, and from
`ONE_LINE` characters on shortens long text. Off a terminal, every row is one line and nothing is cut. Text is never
interpreted as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ffcli.report.colours import STYLES
from ffcli.report.sheet import Block, Document, Item, Line, Sheet, Span
from ffcli.text import UNBOUNDED

ONE_LINE = 100
"""Width of a terminal from which on text is shortened rather than wrapped, so that every row is one line."""


class Grid(NamedTuple):
    """One drawn table under a name, which may be empty."""

    table: Table
    name: str = ""


@dataclass(frozen=True)
class Drawing:
    """A document that rich can print; print it with `crop=False`, so that commands stay on one line."""

    document: Document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.document.intro:
            yield Text(line, STYLES["heading"])
        for number, sheet in enumerate(self.document.sheets):
            if number:
                yield Text()
            yield from _draw(sheet, console, options)
        if self.document.legend:
            if self.document.sheets:
                yield Text()
            yield from map(_span, self.document.legend)


def _draw(sheet: Sheet, console: Console, options: ConsoleOptions) -> RenderResult:
    if sheet.heading:
        yield Text(sheet.heading, STYLES["heading"])
    if sheet.caption:
        yield Text(sheet.caption, STYLES["caption"])
    draw = _transposable if sheet.transposable else _listed
    for number, grid in enumerate(draw(sheet, console, options)):
        if number or grid.name:
            yield Text()
        if grid.name:
            yield Text(grid.name, STYLES["heading"])
        yield grid.table
    if sheet.notes or sheet.hints:
        yield Text()
    for sentences in sheet.notes:
        yield from map(Text, sentences)
    yield from map(_span, sheet.hints)


def _span(span: Span) -> Text:
    if span.role == "command":  # to be copied: never wrapped
        return Text(span.text, STYLES[span.role], no_wrap=True, overflow="ignore")
    return Text(span.text, STYLES[span.role])


# Tables whose columns are chosen


def _listed(sheet: Sheet, console: Console, options: ConsoleOptions) -> Iterator[Grid]:
    """The table of each block, in the first layout that fits, else in the last."""
    layouts = [sheet.shown(layout) for layout in sheet.layouts] or [list(range(len(sheet.columns)))]
    shortens = options.max_width >= ONE_LINE
    least = {place: _least(sheet, place) for place in chain.from_iterable(layouts)}
    places = next((layout for layout in layouts if _total(least, layout) <= options.max_width), layouts[-1])
    widths = _shortened(sheet, places, least, options.max_width) if shortens else {}
    for block in sheet.blocks:
        table = Table(box=None, header_style=STYLES["heading"], pad_edge=False)
        for place in places:
            title, align, flexible = sheet.columns[place]
            table.add_column(
                Text(title), justify=align, no_wrap=shortens or not flexible, max_width=widths.get(place),
                overflow="ellipsis" if shortens and flexible else "fold",
            )  # fmt: skip
        for line in block.lines:
            table.add_row(*(_text(line.items[place]) for place in places))
        yield Grid(table, " ".join(block.name))


def _longest(sheet: Sheet, place: int) -> int:
    texts = (line.items[place].flat for block in sheet.blocks for line in block.lines)
    return max(map(cell_len, (sheet.columns[place].title, *texts)))


def _least(sheet: Sheet, place: int) -> int:
    longest = _longest(sheet, place)
    return min(longest, sheet.columns[place].least or longest)


def _total(widths: Mapping[int, int], places: Sequence[int]) -> int:
    return sum(widths[place] for place in places) + 2 * (len(places) - 1)


def _shortened(sheet: Sheet, places: Sequence[int], least: Mapping[int, int], max_width: int) -> dict[int, int]:
    """Widths of the columns, in which the longest texts are shortened until all columns fit, at most to `least`."""
    widths = {place: _longest(sheet, place) for place in places}
    flexible = [place for place in places if sheet.columns[place].least]
    for _ in range(_total(widths, places) - max_width):
        if not (longer := [place for place in flexible if widths[place] > least[place]]):
            break
        widths[max(longer, key=lambda place: widths[place])] -= 1
    return {place: widths[place] for place in flexible}


def _text(item: Item) -> Text:
    return Text(item.flat, STYLES[item.role])


# Tables whose columns are alike


def _transposable(sheet: Sheet, console: Console, options: ConsoleOptions) -> list[Grid]:
    """The first of the layouts in which nothing is cut, else the last. Off a terminal, one line for each row."""
    if options.max_width >= UNBOUNDED:
        return [Grid(_rows(sheet))]
    unbounded = options.update(width=UNBOUNDED)
    grids: list[Grid] = []
    for layout in LAYOUTS:
        grids = layout(sheet)
        if all(Measurement.get(console, unbounded, grid.table).maximum <= options.max_width for grid in grids):
            break
    return grids


def _rows(sheet: Sheet) -> Table:
    """One line for each row, with the names of its block and the paper's figures on it."""
    table = Table(box=None, header_style=STYLES["heading"], pad_edge=False)
    named = sheet.has_line_names
    for head in sheet.heads:
        table.add_column(Text(head), no_wrap=True)
    for column in sheet.columns:
        table.add_column(Text(column.title), justify=column.align, no_wrap=True)
    for block in sheet.blocks:
        for line in block.lines:
            names = [*block.name, *([line.name] if named else [])]
            table.add_row(*map(Text, names), *map(_text, line.items))
    return table


def _across(sheet: Sheet, inline: bool = True) -> list[Grid]:
    """Columns across; each line begins with its name, a block of unnamed lines with the block's."""
    named = sheet.has_line_names
    table = _table(["", *(column.title for column in sheet.columns)], leading=not named)
    for number, block in enumerate(sheet.blocks):
        if not named:
            for line in block.lines:
                table.add_row(_block_name(block, "\n"), *_stacks(line.items, inline))
            continue
        if number:
            table.add_row()
        table.add_row(_block_name(block))
        for line in block.lines:
            table.add_row(Text(f"  {line.name}"), *_stacks(line.items, inline))
    return [Grid(table)]


def _down(sheet: Sheet, inline: bool = True) -> list[Grid]:
    """Columns down; the blocks across, or a table for each block if lines have names."""
    if not sheet.has_line_names:
        lines = [line for block in sheet.blocks for line in block.lines]
        heads = [_block_name(block, "\n") for block in sheet.blocks for _ in block.lines]
        return [Grid(_transposed(sheet, ["", *heads], lines, inline, leading=True))]
    return [
        Grid(_transposed(sheet, [_block_name(block), *map(_narrow, block.lines)], block.lines, inline, leading=False))
        for block in sheet.blocks
    ]


def _transposed(
    sheet: Sheet, heads: Sequence[str | Text], lines: Sequence[Line], inline: bool, *, leading: bool
) -> Table:
    table = _table(heads, leading=leading)
    for place, column in enumerate(sheet.columns):
        head = Text(column.title, STYLES["heading"] if leading else "")
        table.add_row(head, *_stacks([line.items[place] for line in lines], inline))
    return table


def _lists(sheet: Sheet) -> list[Grid]:
    """A list for each block; for each block and column if lines have names."""
    if not sheet.has_line_names:
        return [Grid(_list(sheet, block, line)) for block in sheet.blocks for line in block.lines]
    grids = []
    for block in sheet.blocks:
        for place, column in enumerate(sheet.columns):
            table = _table([Text(" ".join([*block.name, column.title])), ""], leading=False)
            for line in block.lines:
                if (item := line.items[place]).flat:
                    table.add_row(Text(line.name), _joined(_number(item), _spread(item)))
            grids.append(Grid(table))
    return grids


def _list(sheet: Sheet, block: Block, line: Line) -> Table:
    figures = any(item.published for item in line.items)
    table = _table([Text(" ".join(block.name)), "", *(["paper", ""] if figures else [])], leading=False)
    for column, item in zip(sheet.columns, line.items, strict=True):
        beside = [_published(item), _span(item.difference)] if figures else []
        table.add_row(Text(column.title), _joined(_number(item), _spread(item)), *beside)
    return table


LAYOUTS: tuple[Callable[[Sheet], list[Grid]], ...] = (
    _across,
    lambda sheet: _across(sheet, inline=False),
    _down,
    lambda sheet: _down(sheet, inline=False),
    _lists,
)
"""From the widest terminal to the narrowest. Not inline: the spread is below its number."""


def _table(heads: Iterable[str | Text], *, leading: bool) -> Table:
    """An empty table; `leading` puts a blank line between its rows."""
    table = Table(
        box=box.SIMPLE_HEAD, leading=int(leading), padding=(0, 1, 0, 0), header_style=STYLES["heading"],
        pad_edge=False, show_edge=False,
    )  # fmt: skip
    for head in heads:
        table.add_column(head if isinstance(head, Text) else Text(head), overflow="fold")
    return table


def _block_name(block: Block, between: str = " ") -> Text:
    first, *others = block.name
    return Text.assemble((first, "bold"), *((between + other, "not bold") for other in others))


def _narrow(line: Line) -> Text:
    """A line's name broken into short lines."""
    return Text(line.name.replace(", ", "\n").replace("-", "-\n"))


def _stacks(items: Iterable[Item], inline: bool) -> list[Text]:
    """Each item as lines of text; an item has a line for every kind that any of them has, so that they align."""
    stacks = []
    for item in items:
        measured = [_joined(_number(item), _spread(item))] if inline else [_number(item), _spread(item)]
        stacks.append([*measured, _joined(_published(item), _span(item.difference))])
    used = [any(text.plain.strip() for text in texts) for texts in zip(*stacks, strict=True)]
    return [Text("\n").join(text for text, use in zip(texts, used, strict=True) if use) for texts in stacks]


def _number(item: Item) -> Text:
    return Text(_aligned(item.text), STYLES[item.role])


def _spread(item: Item) -> Text:
    return Text(item.spread, STYLES["spread"])


def _published(item: Item) -> Text:
    return Text(_aligned(item.published), STYLES["paper"])


def _aligned(number: str) -> str:
    """Pad a number so that the decimal points of two-digit numbers are aligned."""
    whole, point, decimals = number.partition(".")
    return f"{whole:>2}{point + decimals:<2}"


def _joined(*texts: Text) -> Text:
    return Text(" ").join(text for text in texts if text)
