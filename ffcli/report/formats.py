"""Tables as text for other programs: markdown, CSV, JSON and LaTeX; and the words that all of them share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ffcli.records import LAST
from ffcli.report.tables import Cell, Row, Table

TITLES = {1: "n hours awake, n hours asleep", 2: "n hours awake, 1 hour asleep"}

NOT_RUN = "·"
NOT_LEARNED = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
COLUMNS = (
    "table", "protocol", "data", "metric", "epochs", "dataset", "negatives", "pos_phase", "neg_phase",
    "mean", "std", "runs", "published", "difference", "learned",
)  # fmt: skip


def value(cell: Cell) -> str:
    """`87.3`; a dash where no run left chance; `7/20 ep` of a run that is still short; `·` where there is none."""
    if cell.measured.mean is None:
        return cell.measured.short or NOT_RUN
    return f"{cell.measured.mean:.1f}" if cell.measured.learned else NOT_LEARNED


def spread(cell: Cell) -> str:
    """`±0.4` and how many runs, of more than one."""
    return "" if cell.measured.std is None else f"±{cell.measured.std:.1f} {TIMES}{cell.measured.runs}"


def published(cell: Cell) -> str:
    """The figure as the paper printed it, its "-" too."""
    if cell.published is None:
        return NOT_LEARNED if cell.published_learned is False else ""
    return f"{cell.published:g}"


def difference(cell: Cell) -> str:
    """`-1.7`, signed."""
    return "" if cell.difference is None else f"{cell.difference:+z.1f}"


def title(table: Table) -> str:
    return f"Table {table.number}: {TITLES[table.number]}"


def caption(table: Table) -> str:
    """Protocol, data, metric, horizon, seeds and device in one line."""
    data = "full data" if table.protocol.data == "full" else "the sample that ships with ffcli, not the full data"
    parts = (table.protocol.label, data, _metric(table), _seeds(table.seeds), table.protocol.device)
    return " · ".join(filter(None, parts))


def _metric(table: Table) -> str:
    epochs = f"{table.epochs} epoch{'s' if table.epochs > 1 else ''}"
    if table.metric == "final":
        return f"final test accuracy in % after {epochs}"
    if table.metric == "last5":
        return f"mean test accuracy in % of the last {LAST} evaluations within {epochs}"
    if table.protocol.holdout:
        return f"test accuracy in % at the best epoch by held-out images within {epochs}"
    return f"best accuracy in % on the test set itself within {epochs}"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) < 2:
        return f"seed {seeds[0]}" if seeds else ""
    if seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"seeds {seeds[0]}-{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}" if len(seeds) <= 6 else f"{len(seeds)} seeds"


def also_measured(table: Table) -> str:
    """One line about schedules that neither table has; empty without any."""
    rows = (f"{row.dataset} {row.negatives} {', '.join(map(_odd, row.cells))}" for row in table.others)
    return "; ".join(rows)


def _odd(cell: Cell) -> str:
    return " ".join(filter(None, (str(cell.schedule), value(cell), spread(cell))))


def as_json(table: Table) -> dict[str, Any]:
    """The stable names of `ff report --json`. Accuracies in percent, null where there is no number."""
    return {
        "table": table.number,
        "protocol": {"label": table.protocol.label, **table.protocol.model_dump(mode="json")},
        "data": table.protocol.data,
        "metric": table.metric,
        "epochs": table.epochs,
        "rows": [_json_row(row) for row in table.rows],
        "others": [_json_row(row) for row in table.others],
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
    """One line a cell, under `COLUMNS`; `table` is empty for schedules that neither table has."""
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
        measured.mean, measured.std, measured.runs, cell.published, cell.difference,
        "" if measured.learned is None else json.dumps(measured.learned),
    )  # fmt: skip


def as_markdown(tables: Iterable[Table]) -> str:
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    lines = [f"### {title(table)}", "", caption(table), ""]
    lines.append(_pipes(["data", "negatives", *map(str, table.schedules)]))
    lines.append(_pipes(["---", "---", *["---:"] * len(table.schedules)]))
    lines += [_pipes([row.dataset, row.negatives, *map(_markdown_cell, row.cells)]) for row in table.rows]
    if table.others:
        lines += ["", f"Also measured, in neither table: {also_measured(table)}"]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    return " ".join(filter(None, (value(cell), spread(cell), _beside(cell))))


def _beside(cell: Cell) -> str:
    """`(89, -1.7)`: published, and the difference."""
    texts = ", ".join(filter(None, (published(cell), difference(cell))))
    return f"({texts})" if texts else ""


def _pipes(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def as_latex(tables: Iterable[Table]) -> str:
    """For the package booktabs."""
    return "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    below = f" Also measured: {also_measured(table)}." if table.others else ""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escape(f'{TITLES[table.number]}. {caption(table)}.{below}')}}}",
        rf"  \begin{{tabular}}{{ll{'r' * len(table.schedules)}}}",
        r"    \toprule",
        _ampersands(["data", "negatives", *map(str, table.schedules)]),
        r"    \midrule",
        *(_ampersands([row.dataset, row.negatives, *map(_markdown_cell, row.cells)]) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
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
