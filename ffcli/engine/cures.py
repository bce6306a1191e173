"""Cures: what a layer keeps of each phase, and the gradient that this gives the other phase.

In a phase s the network sees half of the loss (L_positive + L_negative) / 2 and drifts along that half's gradient g_s,
as a client of federated learning does along its own. A cure estimates the gradient c of the half that is not seen, and
every update of the phase steps along

    (g_s + c) / 2                            with phase s's own Adam state

    gradient-memory   c = the mean of the other phase's gradients over its last stretch: a control variate
                      (SCAFFOLD, arXiv 1910.06378). It keeps no data, but two vectors of the parameters' size.
    replay            c = the gradient, at the weights as they are, over the layer's latest inputs in the other phase.
                      It keeps `samples` of each phase: the last batch's first ones, in place of earlier ones.

Before the other phase has been seen there is no c: nothing is updated, the phase is only observed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ffcli.config import Cure
from ffcli.engine.goodness import LayerInput, Rows, loss_gradient
from ffcli.engine.parameters import views


@dataclass(slots=True)
class Memory:
    """Of one layer. The two tensors change places where a phase begins."""

    method: Method
    filling: Tensor
    """Of the phase under way."""
    kept: Tensor
    """Of the other phase's last stretch."""
    products: torch.dtype
    """What matrix products are rounded to."""
    updates: int = 0
    """What `filling` was made from."""
    complete: bool = False
    """Whether there was another phase yet."""
    rows_filling: int = 0
    rows_kept: int = 0
    """How many inputs are in `filling` and in `kept`, where inputs are kept."""


class Method(NamedTuple):
    """One cure: functions of the same shape as any other's."""

    empty: Callable[[Cure, Tensor, int], Tensor]
    """Cure, flat parameters, inputs of the layer -> what a phase begins to fill, in the parameters' type."""
    remember: Callable[[Memory, LayerInput, Tensor], None]
    """Takes in an update's inputs (rows, inputs) and its flat gradient."""
    recall: Callable[[Memory, Tensor, Tensor, float], Tensor]
    """Flat parameters, sign of the other phase (), threshold -> c, flat."""
    finish: Callable[[Memory], None]
    """A stretch of a phase is over."""


def begin_phase(memory: Memory) -> None:
    """A phase begins: what the one before left is kept for it."""
    memory.method.finish(memory)
    memory.filling, memory.kept = memory.kept, memory.filling
    memory.rows_filling, memory.rows_kept = memory.rows_kept, memory.rows_filling
    memory.updates, memory.complete = 0, True


def bring_in(
    memory: Memory, inputs: LayerInput, gradient: Tensor, parameters: Tensor, sign: Tensor, threshold: float
) -> None:
    """Remember an update's inputs and flat gradient; then, where the other phase was seen, make the gradient
    (g_s + c) / 2, in place. `sign` (rows,) is that of this phase's rows."""
    memory.method.remember(memory, inputs, gradient)
    memory.updates += 1
    if memory.complete:
        gradient.lerp_(memory.method.recall(memory, parameters, -sign[0], threshold), 0.5)


def progress(memory: Memory) -> Tensor:
    """All of a memory but its two tensors, for a saved state."""
    return torch.tensor([memory.updates, int(memory.complete), memory.rows_filling, memory.rows_kept])


def resume(memory: Memory, progress: Tensor) -> None:
    """Take over what `progress` gave."""
    memory.updates, complete, memory.rows_filling, memory.rows_kept = progress.tolist()
    memory.complete = bool(complete)


def empty_sum(cure: Cure, parameters: Tensor, inputs: int) -> Tensor:
    return torch.zeros_like(parameters)


def add_gradient(memory: Memory, inputs: LayerInput, gradient: Tensor) -> None:
    if memory.updates:
        memory.filling.add_(gradient)
    else:
        memory.filling.copy_(gradient)


def mean_gradient(memory: Memory, parameters: Tensor, sign: Tensor, threshold: float) -> Tensor:
    return memory.kept


def divide_sum(memory: Memory) -> None:
    memory.filling.div_(memory.updates)


def empty_rows(cure: Cure, parameters: Tensor, inputs: int) -> Tensor:
    assert cure.samples is not None
    return parameters.new_zeros(cure.samples, inputs)


def keep_rows(memory: Memory, inputs: LayerInput, gradient: Tensor) -> None:
    assert isinstance(inputs, Rows)  # images are shared by unseparated hours only
    rows = inputs.x[: len(memory.filling)]
    memory.filling[: len(rows)] = rows
    memory.rows_filling = max(memory.rows_filling, len(rows))


def replayed_gradient(memory: Memory, parameters: Tensor, sign: Tensor, threshold: float) -> Tensor:
    rows, inputs = memory.rows_kept, memory.kept.shape[1]
    units = len(parameters) // (inputs + 1)
    gradient = torch.empty_like(parameters)
    h = parameters.new_empty(rows, units)
    x = Rows(memory.kept[:rows].to(memory.products))
    loss_gradient(x, *views(parameters, units), sign.expand(rows), threshold, h, *views(gradient, units))
    return gradient


def keep_as_it_is(memory: Memory) -> None:
    pass


METHODS = {
    "gradient-memory": Method(empty_sum, add_gradient, mean_gradient, divide_sum),
    "replay": Method(empty_rows, keep_rows, replayed_gradient, keep_as_it_is),
}


def make_memory(cure: Cure, parameters: Tensor, inputs: int, products: torch.dtype) -> Memory:
    """The empty memory of a layer with these flat parameters and so many inputs."""
    method = METHODS[cure.name]
    filling, kept = (method.empty(cure, parameters, inputs) for _ in range(2))
    return Memory(method, filling, kept, products)
