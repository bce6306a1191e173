"""The mean difference of two sides over their pairs, with an interval.

The interval is the 95 % percentile bootstrap of the mean of b - a over the pairs, seeded. Over few pairs it is too
narrow: if the sides do not differ, the interval over two pairs excludes 0 half of the time, over three a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

CONFIDENCE = 0.95

MIN_PAIRS = 6
"""Smallest number of pairs for a reliable interval: if the sides do not differ, 6 differences have the same sign with
a probability of 1 in 32, which is less than 5 %."""

_BATCH_NUMBERS = 10**6
"""Resampled numbers per batch, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two sides. Accuracies in percent."""

    pairs: int
    mean_a: float
    mean_b: float
    interval: tuple[float, float] | None
    """95 % interval of the mean difference in percentage points; None for a single pair."""

    @property
    def difference(self) -> float:
        """Mean of side b minus mean of side a, in percentage points."""
        return self.mean_b - self.mean_a

    @property
    def better(self) -> Literal["a", "b"] | None:
        """The side with the higher accuracy; None if the interval includes 0, or if there is none."""
        if self.interval is None:
            return None
        low, high = self.interval
        return "b" if low > 0 else "a" if high < 0 else None


def difference_of(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Return the difference between two sides.

    Args:
        ours: accuracies of side a in percent, at least one.
        theirs: accuracies of side b, pair by pair.
    """
    differences = [b - a for a, b in zip(ours, theirs, strict=True)]
    return Difference(len(differences), fmean(ours), fmean(theirs), _interval(differences))


def _interval(differences: Sequence[float]) -> tuple[float, float] | None:
    if len(differences) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap  # type: ignore[import-untyped]

    found = bootstrap(
        (np.array(differences),),
        np.mean,
        confidence_level=CONFIDENCE,
        method="percentile",  # BCa has no interval if all differences are equal
        batch=max(1, _BATCH_NUMBERS // len(differences)),
        random_state=np.random.default_rng(0),
    ).confidence_interval
    # If all differences are equal, rounding may make `low` larger than `high` in the last digit.
    low, high = sorted((float(found.low), float(found.high)))
    return low, high
