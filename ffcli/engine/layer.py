"""One layer: its parameters, an Adam state for each phase, and the updates that it takes on one batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ffcli.engine.goodness import (
    LayerInput,
    activity,
    backward,
    goodness,
    goodness_backward,
    losses,
    losses_backward,
)
from ffcli.records import Phase

BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class Adam:
    """Moments and step count of one phase, over a layer's parameters as one flat vector."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights and bias are views into one flat vector, so that an optimiser step is one call."""

    parameters: Tensor  # (units * inputs + units,)
    weight: Tensor  # (units, inputs)
    bias: Tensor  # (units,)
    gradient: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    adam: dict[Phase, Adam]


def make_layer(parameters: Tensor, units: int, phases: Iterable[Phase]) -> Layer:
    """A layer around its flat parameters (weights row by row, then biases), its Adam states at rest."""
    gradient = torch.zeros_like(parameters)
    adam = {phase: _adam_at_rest(parameters) for phase in phases}
    return Layer(parameters, *_views(parameters, units), gradient, *_views(gradient, units), adam)


def initial_parameters(inputs: int, units: int, *, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """`torch.nn.Linear`'s default: weights and biases uniform within 1/sqrt(inputs)."""
    bound = inputs**-0.5
    flat = torch.empty(units * inputs + units, dtype=dtype)
    for part in _views(flat, units):
        part.uniform_(-bound, bound, generator=generator)
    return flat


def update(
    layer: Layer,
    inputs: LayerInput,
    sign: Tensor,
    *,
    phase: Phase,
    lr: float,
    threshold: float,
    updates: int,
    h: Tensor,
) -> Tensor:
    """Take `updates` Adam steps on one batch, with the Adam state of `phase`.

    `sign` (rows,) is +1 for positive and -1 for negative rows; `h` (rows, units) is scratch.
    Returns the losses (rows,) summed over the updates, each taken before its update.
    """
    total = torch.zeros_like(sign)
    for _ in range(updates):
        activity(inputs, layer.weight, layer.bias, out=h)
        g = goodness(h)
        total += losses(g, sign, threshold)

        dg = losses_backward(g, sign, threshold)
        dz = goodness_backward(h, dg)
        backward(inputs, dz, weight_gradient=layer.weight_gradient, bias_gradient=layer.bias_gradient)
        _step(layer, phase, lr)
    return total


def _step(layer: Layer, phase: Phase, lr: float) -> None:
    state = layer.adam[phase]
    state.step.add_(1)
    torch._fused_adam_(
        [layer.parameters], [layer.gradient], [state.exp_avg], [state.exp_avg_sq], [], [state.step],
        lr=lr, beta1=BETA1, beta2=BETA2, eps=ADAM_EPSILON, weight_decay=0.0, amsgrad=False, maximize=False,
    )  # fmt: skip


def _adam_at_rest(parameters: Tensor) -> Adam:
    step = parameters.new_zeros((), dtype=torch.float32)
    return Adam(torch.zeros_like(parameters), torch.zeros_like(parameters), step)


def _views(flat: Tensor, units: int) -> tuple[Tensor, Tensor]:
    return flat[:-units].view(units, -1), flat[-units:]
