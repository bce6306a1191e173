"""Agreement of a measured table with the published one.

Only cells of full data with a measured mean and a published number are compared. The rank correlation (Spearman's rho)
shows whether the phases of a row are in the paper's order: it is Pearson's correlation of the ranks, and equal values
get the mean of their ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import correlation, fmean
from typing import TYPE_CHECKING

from ffcli.text import counted

if TYPE_CHECKING:
    from ffcli.choices import DataKind
    from ffcli.report.cells import Cell, TableRow

MIN_CELLS = 2
"""Smallest number of compared cells for which a table has an agreement."""

MIN_RANKED = 3
"""Smallest number of cells for which a row has a rank correlation: for two cells it is always 1 or -1."""


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Rank correlation of one row's measured and published accuracies."""

    dataset: str
    negatives: str
    rho: float | None
    """Spearman's, -1 to 1; None for fewer than three cells, or if either side is the same in all of them."""
    cells: int
    """Cells compared."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of one table with the paper's."""

    mean_absolute_difference: float
    """Mean over the compared cells, in percentage points."""
    compared: int
    left_out: int
    """Measured cells for which the paper has no number: its "-", other phases, other datasets."""
    within_spread: int
    """Number of the `spread_known` cells with |mean - published| <= sample standard deviation over the seeds."""
    spread_known: int
    """Compared cells with two seeds or more."""
    rank_correlation: tuple[RankCorrelation, ...]
    """One for each row with a compared cell."""


def agreement(rows: Sequence[TableRow], data: DataKind) -> Agreement | None:
    """Return the agreement of a table's rows with the paper.

    Returns None for the sample, which the paper did not use, and if fewer than two cells can be compared.
    """
    measured = [cell for row in rows for cell in row.cells if cell.measured.mean is not None]
    distances = [abs(cell.difference) for cell in measured if cell.difference is not None]
    if data == "sample" or len(distances) < MIN_CELLS:
        return None
    within = [cell.within_spread for cell in measured if cell.within_spread is not None]
    return Agreement(
        mean_absolute_difference=fmean(distances),
        compared=len(distances),
        left_out=len(measured) - len(distances),
        within_spread=sum(within),
        spread_known=len(within),
        rank_correlation=tuple(_rank_correlations(rows)),
    )


def _rank_correlations(rows: Sequence[TableRow]) -> Iterator[RankCorrelation]:
    for row in rows:
        if pairs := [pair for cell in row.cells if (pair := _pair(cell))]:
            yield RankCorrelation(row.dataset, row.negatives, spearman(*zip(*pairs, strict=True)), len(pairs))


def _pair(cell: Cell) -> tuple[float, float] | None:
    mean, figure = cell.measured.mean, cell.published
    return None if mean is None or figure is None else (mean, figure)


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three values, or if either side is constant.

    scipy.stats.spearmanr gives the same, but takes longer to import than the whole report takes to print.
    """
    if len(xs) < MIN_RANKED or len(set(xs)) == 1 or len(set(ys)) == 1:
        return None
    return correlation(_ranks(xs), _ranks(ys))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def sentences(agreed: Agreement) -> Iterator[str]:
    """Yield the agreement in sentences without full stops."""
    count = counted(agreed.compared, "cell")
    if agreed.left_out:
        count += f" ({agreed.left_out} more measured, for which the paper has no number)"
    yield f"Agreement with the paper: mean absolute difference {agreed.mean_absolute_difference:.1f} over {count}"
    if agreed.spread_known:
        yield (
            f"Within the seeds' spread: {agreed.within_spread} of the {agreed.spread_known} cells with two seeds or"
            " more (|mean - published| at most the seeds' sample standard deviation)"
        )
    rows = [
        f"{row.dataset} {row.negatives} {row.rho:+.2f} ({counted(row.cells, 'cell')})"
        for row in agreed.rank_correlation
        if row.rho is not None
    ]
    if rows:
        yield f"Rank correlation (Spearman) of the phases: {', '.join(rows)}"
