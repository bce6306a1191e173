"""One layer: its parameters, an optimiser state for each phase, and the updates of one hour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ffcli.engine.cures import Memory, OtherGradient, combine_gradients, make_memory
from ffcli.engine.goodness import LayerInput, Rows, loss_gradient
from ffcli.engine.kernels import fused_for
from ffcli.engine.optimisers import Hyperparameters, Optimiser, State
from ffcli.engine.parameters import views
from ffcli.schedule import Phase
from ffcli.settings import Cure


@dataclass(frozen=True, slots=True)
class Hour:
    """How a network trains on one batch."""

    phase: Phase
    lr: float
    threshold: float
    """Theta in the loss."""
    updates: int
    """Optimiser steps of each layer."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The tensors of one layer. Weight and bias are views of `parameters`, and likewise for the gradient."""

    parameters: Tensor  # (P,), where P = units * inputs + units
    weight: Tensor  # (units, inputs)
    bias: Tensor  # (units,)
    gradient: Tensor  # (P,)
    weight_gradient: Tensor  # (units, inputs)
    bias_gradient: Tensor  # (units,)
    divisor: int
    """Divisor of |h|^2 in the goodness."""
    optimiser: Optimiser
    hyper: Hyperparameters
    states: dict[Phase, State]
    """The optimiser's state in each phase."""
    memory: Memory | None
    """What the cure keeps; None without a cure."""


def make_layer(
    parameters: Tensor,
    units: int,
    phases: Iterable[Phase],
    *,
    divisor: int,
    optimiser: Optimiser,
    hyper: Hyperparameters,
    cure: Cure,
) -> Layer:
    """Return a layer before its first update.

    Args:
        parameters: weights row by row, then biases (P,); they are trained in place.
        units: number of units.
        phases: the phases that occur.
        divisor: divisor of |h|^2 in the goodness.
        optimiser: makes the steps.
        hyper: settings of the optimiser.
        cure: what to keep across phases.
    """
    gradient = torch.zeros_like(parameters)
    weight, bias = views(parameters, units)
    return Layer(
        parameters,
        weight,
        bias,
        gradient,
        *views(gradient, units),
        divisor=divisor,
        optimiser=optimiser,
        hyper=hyper,
        states={phase: optimiser.initial_state(parameters) for phase in phases},
        memory=make_memory(cure.name, cure.samples, parameters, weight.shape[1]),
    )


def update(layer: Layer, inputs: LayerInput, sign: Tensor, hour: Hour, *, h: Tensor) -> Tensor:
    """Take all optimiser steps of an hour on one batch.

    With a cure, each step uses the mean of the batch's gradient and the gradient that the cure estimates for the other
    phase. As long as the other phase has not been seen, no steps are taken.

    Args:
        layer: changed in place.
        inputs: the batch, normalised.
        sign: 1 or -1 for each row (rows,).
        hour: how to train.
        h: buffer (rows, units); its content is lost.

    Returns:
        The loss of each row (rows,), summed over the updates; each is the loss before its update.
    """
    total = torch.zeros_like(sign)
    state = layer.states[hour.phase]
    fused = fused_for(layer.parameters, len(layer.bias))
    compute = fused.loss_gradient if fused else loss_gradient
    for _ in range(hour.updates):
        total += compute(
            inputs,
            layer.weight,
            layer.bias,
            sign,
            threshold=hour.threshold,
            divisor=layer.divisor,
            h=h,
            weight_gradient=layer.weight_gradient,
            bias_gradient=layer.bias_gradient,
        )
        if layer.memory:
            assert isinstance(inputs, Rows)  # only unseparated hours share images, and they have no cure
            other = _other_gradient(layer, -sign[0], hour.threshold, inputs.x.dtype)
            combine_gradients(layer.memory, inputs.x, layer.gradient, other)
        if layer.memory is None or layer.memory.complete:
            layer.optimiser.step(layer.parameters, layer.gradient, state, hour.lr, layer.hyper)
    return total


def _other_gradient(layer: Layer, sign: Tensor, threshold: float, products: torch.dtype) -> OtherGradient:
    """Return the function that gives the gradient for inputs of the other phase, all of which have this sign ()."""

    def gradient_for(inputs: Tensor) -> Tensor:
        rows, units = len(inputs), len(layer.bias)
        gradient = torch.empty_like(layer.parameters)
        weight_gradient, bias_gradient = views(gradient, units)
        loss_gradient(
            Rows(inputs.to(products)),
            layer.weight,
            layer.bias,
            sign.expand(rows),
            threshold=threshold,
            divisor=layer.divisor,
            h=gradient.new_empty(rows, units),
            weight_gradient=weight_gradient,
            bias_gradient=bias_gradient,
        )
        return gradient

    return gradient_for
