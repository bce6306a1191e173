"""Optimisers: one step on a layer's parameters, which are one flat vector.

To add an optimiser, write its two functions and add a record to `OPTIMISERS`. This module does not import torch until
the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ADAM_EPSILON = 1e-8

State = dict[str, "Tensor"]
"""What an optimiser keeps between steps, by the names that saved states use."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Settings of an optimiser that stay the same during a run."""

    beta1: float = 0.9
    """Decay rate of Adam's first moment, per step."""
    beta2: float = 0.999
    """Decay rate of Adam's second moment, per step."""


DEFAULT_HYPER = Hyperparameters()


@dataclass(frozen=True, slots=True)
class Optimiser:
    """An optimiser as a pair of functions."""

    name: str
    help: str
    initial_state: Callable[[Tensor], State]
    """Flat parameters (P,) -> state before the first step, on the same device and in the same type."""
    step: Callable[[Tensor, Tensor, State, float, Hyperparameters], None]
    """Flat parameters (P,), gradient (P,), state, learning rate, hyperparameters: updates parameters and state."""


def adam_state(parameters: Tensor) -> State:
    """Return zero moments and a step count of 0."""
    return {
        "exp_avg": parameters.new_zeros(parameters.shape),
        "exp_avg_sq": parameters.new_zeros(parameters.shape),
        "step": parameters.new_zeros(()).float(),
    }


def adam_step(parameters: Tensor, gradient: Tensor, state: State, lr: float, hyper: Hyperparameters) -> None:
    """Take one step of Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) in one fused kernel."""
    from torch.optim.adam import adam

    adam(
        [parameters], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
        fused=True, lr=lr, beta1=hyper.beta1, beta2=hyper.beta2, eps=ADAM_EPSILON, weight_decay=0.0, amsgrad=False,
        maximize=False,
    )  # fmt: skip


ADAM = Optimiser("adam", "Adam: steps scaled by running moments of the gradient", adam_state, adam_step)

OPTIMISERS = {optimiser.name: optimiser for optimiser in (ADAM,)}
