"""Objectives: how a layer's goodness is computed from its activity, and whether positive data should raise it.

An objective is two numbers per layer, so every objective runs the same code: goodness is |h|^2 / divisor, and the sign
of positive data is `polarity`. To add an objective, add a record to `OBJECTIVES`. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Objective:
    """A definition of goodness for layers of any size."""

    name: str
    help: str
    divisor: Callable[[int], int]
    """Number of units of a layer -> divisor of |h|^2."""
    polarity: int = 1
    """1: positive data should have goodness above the threshold, negative data below; -1: the other way round."""


MEAN = Objective("mean", "goodness is the mean of the squared activity over the units", divisor=lambda units: units)
SUM = Objective("sum", "goodness is the sum of the squared activity over the units", divisor=lambda units: 1)

OBJECTIVES = {objective.name: objective for objective in (MEAN, SUM)}
