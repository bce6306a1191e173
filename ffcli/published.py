"""The tables that the paper printed ("Sleep Deprivation in the Forward-Forward Algorithm", arXiv 2310.18647)."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ffcli.schedule import UNSEPARATED, Schedule

DATASETS = ("mnist", "fashion")
NEGATIVES = ("label", "masks")


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of the paper. `rows[(dataset, negatives)][schedule]`: test accuracy in percent; None is the
    paper's "-" (no learning)."""

    number: int
    title: str
    schedules: tuple[Schedule, ...]
    rows: dict[tuple[str, str], dict[Schedule, float | None]]


@cache
def tables() -> dict[int, PublishedTable]:
    """Return table 1 (balanced phases) and table 2 (n positive hours to one negative hour), by number."""
    source = tomllib.loads((files("ffcli") / "published.toml").read_text(encoding="utf-8"))
    return {number: _table(number, source[f"table{number}"]) for number in (1, 2)}


def cell(dataset: str, negatives: str, schedule: Schedule) -> tuple[int, float | None] | None:
    """Return the table number and the published accuracy of a cell, or None if the paper has no such cell.

    The accuracy is in percent, and None for the paper's "-".
    """
    for number, table in tables().items():
        row = table.rows.get((dataset, negatives), {})
        if schedule in row:
            return number, row[schedule]
    return None


def _table(number: int, source: dict[str, object]) -> PublishedTable:
    lengths: list[int] = source["phases"]  # type: ignore[assignment]
    schedules = tuple(_schedule(number, n) for n in lengths)
    rows = {
        (dataset, negatives): dict(zip(schedules, map(_number, source[dataset][negatives]), strict=True))  # type: ignore[index]
        for dataset in DATASETS
        for negatives in NEGATIVES
    }
    return PublishedTable(number, str(source["title"]), schedules, rows)


def _schedule(table: int, n: int) -> Schedule:
    if n == 0:
        return UNSEPARATED
    return Schedule(positive=n, negative=n if table == 1 else 1)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
