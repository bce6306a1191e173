"""How far two sides are apart over their pairs, and how sure that is.

The interval is the 95 % percentile bootstrap of the mean of b - a over the pairs, seeded. Over few pairs it is too
narrow: two pairs without any true difference exclude 0 every second time, three every fourth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

CONFIDENCE = 0.95
TRUSTED = 6
"""Pairs from which on all of one sign are rarer than 1 in 20 without any true difference (1 in 32)."""

_RESAMPLED_AT_ONCE = 10**6
"""Numbers drawn in one go: bounds the memory."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of pairs of accuracies, in points of percent."""

    pairs: int
    mean_a: float
    mean_b: float
    interval: tuple[float, float] | None
    """Of the mean difference; None for a single pair."""

    @property
    def difference(self) -> float:
        return self.mean_b - self.mean_a

    @property
    def better(self) -> Literal["a", "b"] | None:
        """The side with the higher accuracy, where the interval excludes 0; None where no difference is shown."""
        if self.interval is None:
            return None
        low, high = self.interval
        return "b" if low > 0 else "a" if high < 0 else None


def difference_of(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Of side a (`ours`) and side b, pair by pair; at least one."""
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
        method="percentile",  # BCa has no interval where all differences are equal
        batch=max(1, _RESAMPLED_AT_ONCE // len(differences)),
        random_state=np.random.default_rng(0),
    ).confidence_interval
    # Where all differences are equal, rounding may put the one a last digit above the other.
    low, high = sorted((float(found.low), float(found.high)))
    return low, high
