"""A layer's parameters as one flat vector (weights row by row, then biases), so that whatever treats all alike, an
optimiser's step say, is one call."""

from __future__ import annotations

import torch
from torch import Tensor


def views(flat: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """Weights (units, inputs) and biases (units,) in `flat` (units * inputs + units,)."""
    return flat[:-units].view(units, -1), flat[-units:]


def initial_parameters(inputs: int, units: int, *, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """`torch.nn.Linear`'s default: weights and biases uniform within 1/sqrt(inputs)."""
    bound = inputs**-0.5
    flat = torch.empty(units * inputs + units, dtype=dtype)
    for part in views(flat, units):
        part.uniform_(-bound, bound, generator=generator)
    return flat
