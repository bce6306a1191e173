"""One layer: its parameters, an Adam state for each phase, and the updates that it takes on one batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ffcli.config import BETA1, BETA2, Cure
from ffcli.engine.cures import Memory, bring_in, make_memory
from ffcli.engine.goodness import LayerInput, loss_gradient
from ffcli.engine.parameters import views
from ffcli.schedule import Phase

ADAM_EPSILON = 1e-8


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
    betas: tuple[float, float]
    """Decay rates of Adam's first and second moment."""
    memory: Memory | None
    """What a cure keeps of the phases; None without one."""


def make_layer(
    parameters: Tensor,
    units: int,
    phases: Iterable[Phase],
    *,
    cure: Cure,
    products: torch.dtype,
    betas: tuple[float, float] = (BETA1, BETA2),
) -> Layer:
    """A layer around its flat parameters (weights row by row, then biases), its Adam states at rest, its memory empty.

    Its inputs come in type `products`.
    """
    gradient = torch.zeros_like(parameters)
    weight, bias = views(parameters, units)
    adam = {phase: _adam_at_rest(parameters) for phase in phases}
    memory = make_memory(cure, parameters, weight.shape[1], products) if cure else None
    return Layer(parameters, weight, bias, gradient, *views(gradient, units), adam, betas, memory)


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

    With a memory each step is along the mean of the batch's gradient and that which the other phase left; there is none
    before the other phase. `sign` (rows,) is +1 for positive and -1 for negative rows; `h` (rows, units) is scratch.
    Returns the losses (rows,) summed over the updates, each taken before its update.
    """
    total = torch.zeros_like(sign)
    for _ in range(updates):
        total += loss_gradient(
            inputs, layer.weight, layer.bias, sign, threshold, h, layer.weight_gradient, layer.bias_gradient
        )
        if layer.memory:
            bring_in(layer.memory, inputs, layer.gradient, layer.parameters, sign, threshold)
        if layer.memory is None or layer.memory.complete:
            _step(layer, phase, lr)
    return total


def _step(layer: Layer, phase: Phase, lr: float) -> None:
    state = layer.adam[phase]
    state.step.add_(1)
    beta1, beta2 = layer.betas
    torch._fused_adam_(
        [layer.parameters], [layer.gradient], [state.exp_avg], [state.exp_avg_sq], [], [state.step],
        lr=lr, beta1=beta1, beta2=beta2, eps=ADAM_EPSILON, weight_decay=0.0, amsgrad=False, maximize=False,
    )  # fmt: skip


def _adam_at_rest(parameters: Tensor) -> Adam:
    step = parameters.new_zeros((), dtype=torch.float32)
    return Adam(torch.zeros_like(parameters), torch.zeros_like(parameters), step)
