"""Tables as text for other programs: markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ffcli.report.agreement import agreement
from ffcli.report.cells import Cell, Row
from ffcli.report.tables import Table
from ffcli.report.words import (
    NOT_LEARNED,
    NOT_RUN,
    TIMES,
    TITLES,
    agreement_sentences,
    also_measured,
    caption,
    difference,
    published,
    spread,
    title,
    value,
)

COLUMNS = (
    "table", "protocol", "data", "metric", "epochs", "dataset", "negatives", "pos_phase", "neg_phase",
    "mean", "std", "runs", "published", "difference", "learned",
)  # fmt: skip


def as_json(table: Table) -> dict[str, Any]:
    """The stable names of `ff report --json`. Accuracies in percent, null where there is no number."""
    agreed = agreement(table)
    return {
        "table": table.number,
        "protocol": {"label": table.protocol.label, **table.protocol.model_dump(mode="json")},
        "data": table.protocol.data,
        "metric": table.metric,
        "epochs": table.epochs,
        "rows": [_json_row(row) for row in table.rows],
        "others": [_json_row(row) for row in table.others],
        "agreement": None if agreed is None else asdict(agreed),
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "negatives": row.negatives,
        "fingerprint": row.fingerprint,
        "cells": [
            {
                "pos_phase": cell.schedule.positive,
                "neg_phase": cell.schedule.negative,
                "mean": cell.measured.mean,
                "std": cell.measured.std,
                "runs": cell.measured.runs,
                "published": cell.published,
                "published_learned": cell.published_learned,
                "learned": cell.measured.learned,
            }
            for cell in row.cells
        ],
    }


def as_csv(tables: Iterable[Table]) -> str:
    """One line a cell, under `COLUMNS`, to six significant digits; `table` is empty for schedules that neither table
    has."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table in tables:
        for number, rows in ((table.number, table.rows), ("", table.others)):
            writer.writerows(_csv_line(table, number, row, cell) for row in rows for cell in row.cells)
    return file.getvalue()


def _csv_line(table: Table, number: int | str, row: Row, cell: Cell) -> tuple[object, ...]:
    measured = cell.measured
    return (
        number, table.protocol.label, table.protocol.data, table.metric, table.epochs,
        row.dataset, row.negatives, cell.schedule.positive, cell.schedule.negative,
        rounded(measured.mean), rounded(measured.std), measured.runs, cell.published, rounded(cell.difference),
        "" if measured.learned is None else json.dumps(measured.learned),
    )  # fmt: skip


def rounded(value: float | None) -> float | None:
    """To six significant digits."""
    return None if value is None else float(f"{value:.6g}")


def as_markdown(tables: Iterable[Table]) -> str:
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    lines = [f"### {title(table)}", "", caption(table), ""]
    lines.append(pipes(["data", "negatives", *map(str, table.schedules)]))
    lines.append(pipes(["---", "---", *["---:"] * len(table.schedules)]))
    lines += [pipes([row.dataset, row.negatives, *map(_markdown_cell, row.cells)]) for row in table.rows]
    if table.others:
        lines += ["", f"Also measured, in neither table: {also_measured(table)}"]
    if agreed := _agreement(table):
        lines += ["", agreed]
    return "\n".join(lines) + "\n"


def _agreement(table: Table) -> str:
    return " ".join(f"{sentence}." for sentence in agreement_sentences(table))


def _markdown_cell(cell: Cell) -> str:
    return " ".join(filter(None, (value(cell), spread(cell), _beside(cell))))


def _beside(cell: Cell) -> str:
    """`(89, -1.7)`: published, and the difference."""
    texts = ", ".join(filter(None, (published(cell), difference(cell))))
    return f"({texts})" if texts else ""


def pipes(texts: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def as_latex(tables: Iterable[Table]) -> str:
    """For the package booktabs."""
    return "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    below = f" Also measured: {also_measured(table)}." if table.others else ""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(f'{TITLES[table.number]}. {caption(table)}.{below}')}}}",
        rf"  \begin{{tabular}}{{ll{'r' * len(table.schedules)}}}",
        r"    \toprule",
        ampersands(["data", "negatives", *map(str, table.schedules)]),
        r"    \midrule",
        *(ampersands([row.dataset, row.negatives, *map(_markdown_cell, row.cells)]) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *([rf"  \par {escape(agreed)}"] if (agreed := _agreement(table)) else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def ampersands(texts: Iterable[str]) -> str:
    """A row of a LaTeX table."""
    return "    " + " & ".join(map(escape, texts)) + r" \\"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        **{character: "\\" + character for character in "&%$#_{}"},
        NOT_RUN: r"$\cdot$", NOT_LEARNED: "--", "±": r"$\pm$", TIMES: r"$\times$",
    }
)  # fmt: skip


def escape(text: str) -> str:
    """Text for LaTeX, and the signs that it has other names for."""
    return text.translate(_LATEX)
