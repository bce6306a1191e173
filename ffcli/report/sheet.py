"""One model for every table that a command prints, and the formats in which it can be written.

A command builds a `Document` of `Sheet`s; a writer turns it into output. To add a format, write a function and enter
it in `WRITERS`: the `--format` options take their choices from there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ffcli.report.colours import Role

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_RUN = "·"
NOT_LEARNED = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


class Span(NamedTuple):
    """A piece of text with one role."""

    text: str
    role: Role = ""


NOTHING = Span("")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a table."""

    text: str = ""
    role: Role = ""
    """What the text is, which decides its colour."""
    spread: str = ""
    """Follows the text; stands below it where the terminal is narrow."""
    published: str = ""
    """The paper's figure, on a line of its own below the text."""
    difference: Span = NOTHING
    """Follows the paper's figure."""

    @property
    def flat(self) -> str:
        """The whole entry on one line: `87.5 ±0.7 ×2 (89, -1.5)`."""  # noqa: RUF002
        figures = ", ".join(filter(None, (self.published, self.difference.text)))
        return " ".join(filter(None, (self.text, self.spread, f"({figures})" if figures else "")))


class Column(NamedTuple):
    """One column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    wrap: bool = False
    """Whether entries may break between words on a narrow terminal."""


class Line(NamedTuple):
    """One line of a table, with an item for each column of its sheet."""

    items: tuple[Item, ...]
    name: str = ""


class Block(NamedTuple):
    """Lines that belong together under a name of one or more parts, such as `mnist` and `label`."""

    lines: tuple[Line, ...]
    name: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table with its title, caption and notes."""

    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    heads: tuple[str, ...] = ()
    """Titles of the columns that hold the parts of a block's name, then the line's name where lines have one."""
    number: str = ""
    """Such as `Table 1`."""
    title: str = ""
    caption: str = ""
    layouts: tuple[tuple[str, ...], ...] = ()
    """Titles of the columns to show, from the widest terminal to the narrowest; empty: all. The first is what other
    formats show."""
    transposable: bool = False
    """Whether the columns are alike, such as phase lengths, so that a narrow terminal may show them as lines."""
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


@dataclass(frozen=True, slots=True)
class Document:
    """What one command prints."""

    sheets: tuple[Sheet, ...]
    intro: tuple[str, ...] = ()
    """Lines before the first table."""
    legend: tuple[Span, ...] = ()
    """Lines after the last table, on a terminal only."""
    data: Any = None
    """What JSON shows."""
    fields: tuple[str, ...] = ()
    """Columns of the CSV; without any, CSV shows the text of the sheets."""
    records: Sequence[Sequence[object]] = ()
    """Rows of the CSV."""


def make_list(
    layouts: Sequence[Sequence[str]],
    blocks: Mapping[str, Iterable[Mapping[str, str | Item]]],
    *,
    right: Iterable[str] = (),
    wrap: Iterable[str] = (),
    **attributes: Any,
) -> Sheet:
    """Return a sheet of lines that are described by the titles of their columns.

    Args:
        layouts: titles of the columns to show, from the widest terminal to the narrowest.
        blocks: lines by the name of their block, empty for a table without blocks. A line has its text or item by
            column title; a missing one is empty.
        right: titles of the columns that are aligned to the right.
        wrap: titles of the columns whose entries may break between words.
        attributes: other attributes of the sheet.
    """
    titles = list(dict.fromkeys(chain.from_iterable(layouts)))
    right, wrap = set(right), set(wrap)
    return Sheet(
        columns=tuple(Column(title, "right" if title in right else "left", title in wrap) for title in titles),
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


def as_rich(document: Document) -> RenderableType:
    """Return what rich prints on a terminal of any width."""
    from ffcli.report.terminal import Drawing  # imports rich, which the other formats do without

    return Drawing(document)


def as_markdown(document: Document) -> str:
    """Return Markdown: a heading, a caption, a table and notes for each sheet."""
    parts = ["".join(f"{line}\n" for line in document.intro)] if document.intro else []
    return "\n".join([*parts, *map(_markdown, document.sheets)])


def _markdown(sheet: Sheet) -> str:
    columns, rows = _flat(sheet)
    lines = [f"### {sheet.heading}", ""] if sheet.heading else []
    lines += [sheet.caption, ""] if sheet.caption else []
    lines.append(_pipes(column.title for column in columns))
    lines.append(_pipes("---" if column.align == "left" else "---:" for column in columns))
    lines += map(_pipes, rows)
    lines += [line for sentences in sheet.notes for line in ("", _paragraph(sentences))]
    return "\n".join(lines) + "\n"


def _flat(sheet: Sheet) -> tuple[list[Column], Iterator[list[str]]]:
    """All columns, those of the names too, and the lines of text. A block's name is in its first line only."""
    places = sheet.shown(sheet.layouts[0]) if sheet.layouts else list(range(len(sheet.columns)))
    names = sheet.has_line_names

    def rows() -> Iterator[list[str]]:
        for block in sheet.blocks:
            for number, line in enumerate(block.lines):
                head = [*(("",) * len(block.name) if number else block.name), *([line.name] if names else [])]
                yield [*head, *(line.items[place].flat for place in places)]

    return [*map(Column, sheet.heads), *(sheet.columns[place] for place in places)], rows()


def _pipes(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _paragraph(sentences: Iterable[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences)


def as_csv(document: Document) -> str:
    """Return the document's records as CSV, or the text of its sheets where it has none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if document.fields:
        writer.writerow(document.fields)
        writer.writerows(document.records)
        return file.getvalue()
    for sheet in document.sheets:
        columns, rows = _flat(sheet)
        writer.writerow([column.title for column in columns])
        writer.writerows(rows)
    return file.getvalue()


def rounded(value: float | None) -> float | None:
    """Return a number for CSV, rounded to six significant digits."""
    return None if value is None else float(f"{value:.6g}")


def as_json(document: Document) -> str:
    """Return the document's data as JSON."""
    return json_text(document.data)


def json_text(value: Any) -> str:
    """Return `value` as JSON. Numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=2, default=str) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def as_latex(document: Document) -> str:
    """Return a LaTeX table environment for each sheet; it needs the package booktabs."""
    return "\n".join(map(_latex, document.sheets))


def _latex(sheet: Sheet) -> str:
    columns, rows = _flat(sheet)
    sentences = [sentence for sentence in (sheet.title, sheet.caption) if sentence]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escape(_paragraph(sentences))}}}",
        rf"  \begin{{tabular}}{{{''.join('l' if column.align == 'left' else 'r' for column in columns)}}}",
        r"    \toprule",
        _ampersands(column.title for column in columns),
        r"    \midrule",
        *map(_ampersands, rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par {_escape(_paragraph(note))}" for note in sheet.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _ampersands(texts: Iterable[str]) -> str:
    return "    " + " & ".join(map(_escape, texts)) + r" \\"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        **{character: "\\" + character for character in "&%$#_{}"},
        NOT_RUN: r"$\cdot$", NOT_LEARNED: "--", "±": r"$\pm$", TIMES: r"$\times$",
    }
)  # fmt: skip


def _escape(text: str) -> str:
    return text.translate(_LATEX)


WRITERS: dict[str, Callable[[Document], RenderableType]] = {
    "rich": as_rich,
    "markdown": as_markdown,
    "csv": as_csv,
    "json": as_json,
    "latex": as_latex,
}
"""The formats by name. A writer returns text, or something that rich prints."""

if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[tuple(WRITERS)]
    """The choices of `--format`."""
