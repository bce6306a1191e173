"""The formats in which a document can be written.

To add a format, write a function and enter it in `WRITERS`: the `--format` options take their choices from there. The
command line imports this module for its help, so what only one format needs is imported in its function.

Names of datasets and runs may contain anything. Every writer first makes the texts of a document printable (see
`ffcli.text`) and then escapes what its format would interpret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ffcli.text import CONTROL, csv_value, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ffcli.report.sheet import Column, Document, Sheet


def as_rich(document: Document) -> RenderableType:
    """Return what rich prints on a terminal of any width."""
    from ffcli.report.terminal import Drawing

    return Drawing(_printable(document))


def _printable(document: Document) -> Document:
    """Return a document in which every text has no control characters, and only captions and legends several lines."""
    from ffcli.report.sheet import Item

    def clean(part: Any) -> Any:
        if isinstance(part, str):
            return printable(part)
        if isinstance(part, Item) and not CONTROL.search(
            f"{part.text}{part.spread}{part.published}{part.difference.text}"
        ):
            return part  # Almost all are like this, and there may be 100,000.
        if isinstance(part, tuple):
            parts = map(clean, part)
            return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
        return part

    def by_line(text: str) -> str:
        return "\n".join(map(printable, text.split("\n")))

    return document._replace(
        sheets=tuple(clean(sheet)._replace(caption=by_line(sheet.caption)) for sheet in document.sheets),
        intro=clean(document.intro),
        legend=tuple(span._replace(text=by_line(span.text)) for span in document.legend),
    )


def as_markdown(document: Document) -> str:
    """Return Markdown: a heading, a caption, a table and notes for each sheet."""
    document = _printable(document)
    parts = ["".join(f"{line}\n" for line in document.intro)] if document.intro else []
    return "\n".join([*parts, *map(_markdown, document.sheets)])


def _markdown(sheet: Sheet) -> str:
    columns, rows = _flat(sheet)
    lines = [f"### {_escape_markdown(sheet.heading)}", ""] if sheet.heading else []
    lines += [_escape_markdown(sheet.caption), ""] if sheet.caption else []
    lines.append(_pipes(column.title for column in columns))
    lines.append(_pipes("---" if column.align == "left" else "---:" for column in columns))
    lines += map(_pipes, rows)
    lines += [line for sentences in sheet.notes for line in ("", _paragraph(sentences))]
    return "\n".join(lines) + "\n"


def _flat(sheet: Sheet) -> tuple[list[Column], Iterator[list[str]]]:
    """All columns, those of the names too, and the lines of text. A block's name is in its first line only."""
    from ffcli.report.sheet import Column

    places = sheet.shown(sheet.layouts[0]) if sheet.layouts else list(range(len(sheet.columns)))
    names = sheet.has_line_names

    def rows() -> Iterator[list[str]]:
        for block in sheet.blocks:
            for number, line in enumerate(block.lines):
                head = [*(("",) * len(block.name) if number else block.name), *([line.name] if names else [])]
                yield [*head, *(line.items[place].flat for place in places)]

    return [*(Column(head) for head in sheet.heads), *(sheet.columns[place] for place in places)], rows()


def _pipes(texts: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escape_markdown, texts)) + " |"


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|<`*["})


def _escape_markdown(text: str) -> str:
    return text.translate(_MARKDOWN)


def _paragraph(sentences: Iterable[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences)


def as_csv(document: Document) -> str:
    """Return the document's records as CSV, or the text of its sheets if it has none."""
    import csv
    import io

    document, file = _printable(document), io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if document.fields:
        writer.writerow(document.fields)
        writer.writerows(map(csv_value, record) for record in document.records)
        return file.getvalue()
    for sheet in document.sheets:
        columns, rows = _flat(sheet)
        writer.writerow([column.title for column in columns])
        writer.writerows(map(csv_value, row) for row in rows)
    return file.getvalue()


def rounded(value: float | None) -> float | None:
    """Return a number for CSV, rounded to six significant digits."""
    return None if value is None else float(f"{value:.6g}")


def as_json(document: Document) -> str:
    """Return the document's data as JSON."""
    return json_text(document.data)


def json_text(value: Any) -> str:
    """Return `value` as JSON. Numbers that are not finite become null."""
    import json

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
    return "\n".join(map(_latex, _printable(document).sheets))


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
        "·": r"$\cdot$", "\N{EN DASH}": "--", "±": r"$\pm$", "\N{MULTIPLICATION SIGN}": r"$\times$",
        "\N{DAGGER}": r"$\dagger$",
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
