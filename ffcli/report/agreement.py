"""How far a measured table agrees with the one that the paper printed.

Compared are the cells of full data that have both a measured mean and a published number. The rank correlation asks
whether the phases of a row stand in the paper's order, whatever their level: Spearman's rho, which is Pearson's
correlation of the ranks, equal values sharing the mean of their ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import correlation, fmean

from ffcli.report.cells import Cell, Row
from ffcli.report.tables import Table

FEWEST = 2
"""Compared cells below which a table has no agreement."""

FEWEST_RANKED = 3
"""Cells below which a row has no rank correlation: any two are in order or in reverse."""


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Of one row, measured with published."""

    dataset: str
    negatives: str
    rho: float | None
    """Spearman's, -1 to 1; None for fewer than three cells, or where either side is the same in all of them."""
    cells: int
    """Cells compared."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one table with the paper's."""

    mean_absolute_difference: float
    """Over the cells compared, in points."""
    compared: int
    left_out: int
    """Measured cells for which the paper has no number: its "-", phases that it has not, other data sets."""
    within_spread: int
    """Of `spread_known`, the cells in which |mean - published| <= the seeds' sample standard deviation."""
    spread_known: int
    """Compared cells with two seeds or more."""
    rank_correlation: tuple[RankCorrelation, ...]
    """One for each row with a cell compared."""


def agreement(table: Table) -> Agreement | None:
    """None for tables of the sample, which the paper knows nothing of, and for fewer than two compared cells."""
    measured = [cell for row in table.rows for cell in row.cells if cell.measured.mean is not None]
    distances = [(abs(cell.difference), cell.measured.std) for cell in measured if cell.difference is not None]
    if table.protocol.data == "sample" or len(distances) < FEWEST:
        return None
    spreads = [(distance, std) for distance, std in distances if std is not None]
    return Agreement(
        mean_absolute_difference=fmean(distance for distance, _ in distances),
        compared=len(distances),
        left_out=len(measured) - len(distances),
        within_spread=sum(distance <= std for distance, std in spreads),
        spread_known=len(spreads),
        rank_correlation=tuple(_rank_correlations(table.rows)),
    )


def _rank_correlations(rows: Sequence[Row]) -> Iterator[RankCorrelation]:
    for row in rows:
        if pairs := [pair for cell in row.cells if (pair := _pair(cell))]:
            yield RankCorrelation(row.dataset, row.negatives, spearman(*zip(*pairs, strict=True)), len(pairs))


def _pair(cell: Cell) -> tuple[float, float] | None:
    mean, figure = cell.measured.mean, cell.published
    return None if mean is None or figure is None else (mean, figure)


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None for fewer than three values, or where either side is constant.

    scipy.stats.spearmanr gives the same, but takes longer to import than the whole report does to draw.
    """
    if len(xs) < FEWEST_RANKED or len(set(xs)) == 1 or len(set(ys)) == 1:
        return None
    return correlation(_ranks(xs), _ranks(ys))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
