"""A layer's parameters as one flat vector: the weights row by row, then the biases.

An operation on all parameters, such as a step of the optimiser, is then one call.
"""

from __future__ import annotations

import torch
from torch import Tensor


def views(flat: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """Return the weights (units, inputs) and the biases (units,) as views of `flat` (units * inputs + units,)."""
    return flat[:-units].view(units, -1), flat[-units:]


def initial_parameters(inputs: int, units: int, *, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Return random parameters as `torch.nn.Linear` draws them: uniform between -1/sqrt(inputs) and 1/sqrt(inputs)."""
    bound = inputs**-0.5
    flat = torch.empty(units * inputs + units, dtype=dtype)
    for part in views(flat, units):
        part.uniform_(-bound, bound, generator=generator)
    return flat
