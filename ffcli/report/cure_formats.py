"""The table of cures for other programs: markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ffcli.config import NO_CURE, Cure
from ffcli.report.cure_costs import Cost
from ffcli.report.cure_words import TITLE, caption, line_name, measured, notes, paper_line
from ffcli.report.cures import PLAIN, SAME_RATE, CureCell, CureLine, CureRow, CureTable
from ffcli.report.formats import ampersands, escape, pipes, rounded
from ffcli.report.words import published, spread

Costed = tuple[CureTable, Sequence[Cost]]

COLUMNS = (
    "table", "protocol", "lr_rule", "data", "metric", "dataset", "negatives", "pos_phase", "neg_phase", "line", "lr",
    "epochs", "mean", "std", "runs", "published", "learned", "memory", "time",
)  # fmt: skip


def as_json(table: CureTable, costs: Sequence[Cost]) -> dict[str, Any]:
    """The stable names of `ff report --table cures --json`. Accuracies in percent, null where there is no number."""
    protocol = table.family.protocol
    return {
        "table": "cures",
        "protocol": {"label": protocol.label, **protocol.model_dump(mode="json", exclude={"cure"})},
        "lr_rule": table.family.rate,
        "data": protocol.data,
        "metric": table.metric,
        "rows": [
            {
                "dataset": row.dataset,
                "negatives": row.negatives,
                "fingerprint": row.data.fingerprint,
                "chance": row.chance,
                "lines": [
                    {"line": line.name, "cells": [_json_cell(table, line, cell) for cell in line.cells]}
                    for line in row.lines
                ],
            }
            for row in table.rows
        ],
        "costs": [asdict(cost) for cost in costs],
    }


def _json_cell(table: CureTable, line: CureLine, cell: CureCell) -> dict[str, Any]:
    return {
        "pos_phase": cell.schedule.positive,
        "neg_phase": cell.schedule.negative,
        "lr": _rate(table, line, cell),
        "epochs": cell.epochs,
        "mean": cell.measured.mean,
        "std": cell.measured.std,
        "runs": cell.measured.runs,
        "seeds": list(cell.measured.seeds),
        "published": cell.published,
        "published_learned": cell.published_learned,
        "learned": cell.measured.learned,
    }


def _rate(table: CureTable, line: CureLine, cell: CureCell) -> float:
    if line.name == PLAIN:
        return table.family.protocol.lr
    return table.family.rate_at(cell.schedule, NO_CURE if line.name == SAME_RATE else Cure.model_validate(line.name))


def as_csv(tables: Iterable[Costed]) -> str:
    """One line a cell of each line, under `COLUMNS`, to six significant digits. `memory` is in bytes, `time` that of an
    hour against plain; both are of the line's cure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for table, costs in tables:
        for row, line, cell in table.cells:
            writer.writerow(_csv_line(table, costs, row, line, cell))
    return file.getvalue()


def _csv_line(
    table: CureTable, costs: Sequence[Cost], row: CureRow, line: CureLine, cell: CureCell
) -> tuple[object, ...]:
    found, protocol = cell.measured, table.family.protocol
    cost = next((c for c in costs if c.cure == line.name and c.features == row.data.features), None)
    return (
        "cures", protocol.label, table.family.rate, protocol.data, table.metric, row.dataset, row.negatives,
        cell.schedule.positive, cell.schedule.negative, line.name, rounded(_rate(table, line, cell)), cell.epochs,
        rounded(found.mean), rounded(found.std), found.runs, cell.published,
        "" if found.learned is None else json.dumps(found.learned),
        cost and cost.memory, cost and rounded(cost.time),
    )  # fmt: skip


def as_markdown(tables: Iterable[Costed]) -> str:
    return "\n".join(_markdown(*table) for table in tables)


def _markdown(table: CureTable, costs: Sequence[Cost]) -> str:
    lines = [f"### {TITLE}", "", caption(table), ""]
    lines.append(pipes(["data", "negatives", "", *map(str, table.schedules)]))
    lines.append(pipes(["---", "---", "---", *["---:"] * len(table.schedules)]))
    lines += map(pipes, _body(table))
    lines += [line for note in notes(table, costs) for line in ("", f"{note}.")]
    return "\n".join(lines) + "\n"


def as_latex(tables: Iterable[Costed]) -> str:
    """For the package booktabs."""
    return "\n".join(_latex(*table) for table in tables)


def _latex(table: CureTable, costs: Sequence[Cost]) -> str:
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(f'{TITLE}. {caption(table)}.')}}}",
        rf"  \begin{{tabular}}{{lll{'r' * len(table.schedules)}}}",
        r"    \toprule",
        ampersands(["data", "negatives", "", *map(str, table.schedules)]),
        r"    \midrule",
        *map(ampersands, _body(table)),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par {escape(note)}." for note in notes(table, costs)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(table: CureTable) -> Iterator[list[str]]:
    """The table's lines; a row's name stands in its first."""
    for row in table.rows:
        lines = [[line_name(table, line.name), *(_text(line, cell) for cell in line.cells)] for line in row.lines]
        if cells := paper_line(row):
            lines.insert(0, ["paper", *map(published, cells)])
        for number, line in enumerate(lines):
            yield [*(("", "") if number else (row.dataset, row.negatives)), *line]


def _text(line: CureLine, cell: CureCell) -> str:
    return " ".join(filter(None, (measured(line, cell), spread(cell))))
