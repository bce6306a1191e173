"""Optimisers: one step on a layer's parameters, which are one flat vector.

To add an optimiser, write its two functions and add a record to `OPTIMISERS`. This module does not import torch until
the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ADAM_EPSILON = 1e-8

PIECES = 32
"""torch's fused Adam takes up to 36 tensors per launch."""

State = dict[str, "Tensor"]
"""What an optimiser keeps between steps, by the names that saved states use."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Settings of an optimiser that stay the same during a run."""

    beta1: float = 0.9
    """Decay rate of Adam's first moment, per step."""
    beta2: float = 0.999
    """Decay rate of Adam's second moment, per step."""
    weight_decay: float = 0.0
    """Share of a parameter that a step of rate 1 removes (AdamW: Loshchilov and Hutter, arXiv 1711.05101)."""


DEFAULT_HYPER = Hyperparameters()


Step = Callable[["Tensor", "Tensor", State, float, Hyperparameters], None]
"""Parameters (P,), gradient (P,), state, learning rate, hyperparameters: changes parameters and state in place."""


@dataclass(frozen=True, slots=True)
class Optimiser:
    """An optimiser as a pair of functions."""

    name: str
    help: str
    initial_state: Callable[[Tensor], State]
    """Flat parameters (P,) -> state before the first step, on the same device and in the same type."""
    step: Step


def adam_state(parameters: Tensor) -> State:
    """Return zero moments and a step count of 0."""
    return {
        "exp_avg": parameters.new_zeros(parameters.shape),
        "exp_avg_sq": parameters.new_zeros(parameters.shape),
        "step": parameters.new_zeros(()).float(),
    }


def adam_step(parameters: Tensor, gradient: Tensor, state: State, lr: float, hyper: Hyperparameters) -> None:
    """Take one step of Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1), after the decoupled weight decay."""
    if hyper.weight_decay:
        parameters.mul_(1 - lr * hyper.weight_decay)
    _fastest_adam(parameters.device)(parameters, gradient, state, lr, hyper)


@cache
def _fastest_adam(device: torch.device) -> Step:
    """Return the direct call of torch's kernel if this version of torch has it as expected, else the public function.

    Both give the same bits. The public function spends about 0.1 ms more per step on Python code, which is 1.5 to 2.5 %
    of an hour.
    """
    results = []
    for step in (_adam_public, _adam_kernel):
        parameters, gradient = (_linear_ramp(first, device) for first in (-1.0, 0.5))
        state = adam_state(parameters)
        try:
            for _ in range(2):
                step(parameters, gradient, state, 0.1, DEFAULT_HYPER)
        except (AttributeError, TypeError, RuntimeError):
            return _adam_public
        results.append((parameters, *state.values()))
    same = all(bool((public == kernel).all()) for public, kernel in zip(*results, strict=True))
    return _adam_kernel if same else _adam_public


def _linear_ramp(first: float, device: torch.device) -> Tensor:
    """Return a small vector to try a step on."""
    import torch

    return torch.linspace(first, 1.0, 5, device=device)


def _adam_kernel(parameters: Tensor, gradient: Tensor, state: State, lr: float, hyper: Hyperparameters) -> None:
    """Step by the kernel that the public function calls. It is not part of torch's public interface.

    On a CUDA device it gives 65,536 numbers of a tensor to one block of threads, which would leave most of the device
    idle. So the parameters are passed as `PIECES` tensors, which changes no bit.
    """
    import torch

    state["step"].add_(1)
    size = -(-len(parameters) // (4 * PIECES)) * 4 if parameters.is_cuda else len(parameters)  # whole 16-byte words
    pieces = [torch.split(each, size) for each in (parameters, gradient, state["exp_avg"], state["exp_avg_sq"])]
    torch._fused_adam_(
        pieces[0], pieces[1], pieces[2], pieces[3], [], [state["step"]] * len(pieces[0]),
        lr=lr, beta1=hyper.beta1, beta2=hyper.beta2, eps=ADAM_EPSILON, weight_decay=0.0, amsgrad=False, maximize=False,
    )  # fmt: skip


def _adam_public(parameters: Tensor, gradient: Tensor, state: State, lr: float, hyper: Hyperparameters) -> None:
    """Step by torch's public function."""
    from torch.optim.adam import adam

    adam(
        [parameters], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
        fused=True, lr=lr, beta1=hyper.beta1, beta2=hyper.beta2, eps=ADAM_EPSILON, weight_decay=0.0, amsgrad=False,
        maximize=False,
    )  # fmt: skip


ADAM = Optimiser("adam", "steps scaled by running moments of the gradient", adam_state, adam_step)

OPTIMISERS = {optimiser.name: optimiser for optimiser in (ADAM,)}
