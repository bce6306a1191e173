"""Cures: methods that keep information about one phase and use it during the other.

In a phase s the network sees half of the loss (L_positive + L_negative) / 2 and drifts along the gradient g_s of that
half, as a client in federated learning drifts along its own gradient. A cure estimates the gradient c of the half that
is not seen. Every update of the phase then uses, with the optimiser state of phase s,

    (g_s + c) / 2

    gradient-memory   c = mean gradient of the other phase over its last stretch: a control variate
                      (SCAFFOLD, arXiv 1910.06378). Keeps two vectors of the size of the parameters, and no data.
    replay            c = gradient of the other phase's loss, at the current weights, on stored inputs of the layer.
                      Keeps `samples` inputs of each phase: the first ones of its latest batch.

Until the other phase has been seen there is no c, so the first phase makes no updates and is only recorded.

To add a cure, write its four functions and add a record to `CURES`. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


OtherGradient = Callable[["Tensor"], "Tensor"]
"""Layer inputs (rows, inputs) -> gradient (P,) of the other phase's loss on them, at the current parameters."""


class MemoryMethod(NamedTuple):
    """What a cure stores in a layer's `Memory`, and how it estimates c from that."""

    empty: Callable[[Tensor, int, int | None], Tensor]
    """Flat parameters (P,), inputs of the layer, samples to keep -> empty storage for one phase."""
    remember: Callable[[Memory, Tensor, Tensor], None]
    """Memory, inputs (rows, inputs) and gradient (P,) of an update: stores them in `memory.filling`."""
    finish: Callable[[Memory], None]
    """Completes `memory.filling` at the end of a phase."""
    recall: Callable[[Memory, OtherGradient], Tensor]
    """Returns c (P,), from `memory.kept`."""


@dataclass(slots=True)
class Memory:
    """What a cure keeps at one layer."""

    method: MemoryMethod
    filling: Tensor
    """Storage of the current phase."""
    kept: Tensor
    """Storage of the other phase."""
    updates: int = 0
    """Updates of the current phase that `filling` was made from."""
    complete: bool = False
    """Whether `kept` holds a whole phase."""
    rows_filling: int = 0
    """Samples in `filling`, for a cure that keeps samples."""
    rows_kept: int = 0
    """Samples in `kept`, for a cure that keeps samples."""


@dataclass(frozen=True, slots=True)
class CureMethod:
    """A cure as `--cure` offers it."""

    name: str
    help: str
    displacement: float
    """How far the automatic learning rate lets a weight move in one phase: rate x updates x hours (measured)."""
    memory: MemoryMethod | None = None
    """None: nothing is kept."""
    default_samples: int | None = None
    """Samples kept of each phase if no number is given; None for a cure that keeps no samples."""


def make_memory(name: str, samples: int | None, parameters: Tensor, inputs: int) -> Memory | None:
    """Return the empty memory of a layer, or None if the cure keeps nothing.

    Args:
        name: name of the cure.
        samples: inputs to keep of each phase; None for a cure that keeps none.
        parameters: the layer's flat parameters (P,); the memory has their type and device.
        inputs: number of inputs of the layer.
    """
    method = CURES[name].memory
    if method is None:
        return None
    filling, kept = (method.empty(parameters, inputs, samples) for _ in range(2))
    return Memory(method, filling, kept)


def begin_phase(memory: Memory) -> None:
    """Keep what the phase that just ended stored, and start to fill for the next one."""
    memory.method.finish(memory)
    memory.filling, memory.kept = memory.kept, memory.filling
    memory.rows_filling, memory.rows_kept = memory.rows_kept, memory.rows_filling
    memory.updates, memory.complete = 0, True


def combine_gradients(memory: Memory, inputs: Tensor, gradient: Tensor, other_gradient: OtherGradient) -> None:
    """Store an update's inputs and gradient, then replace the gradient by (g_s + c) / 2 once there is a c.

    Args:
        memory: the layer's memory; changed in place.
        inputs: inputs of the layer (rows, inputs).
        gradient: g_s, flat (P,); changed in place.
        other_gradient: computes the gradient of the other phase's loss.
    """
    memory.method.remember(memory, inputs, gradient)
    memory.updates += 1
    if memory.complete:
        gradient.lerp_(memory.method.recall(memory, other_gradient), 0.5)


def progress(memory: Memory) -> list[int]:
    """Return the counters of a memory, which a saved state needs beside its two tensors."""
    return [memory.updates, int(memory.complete), memory.rows_filling, memory.rows_kept]


def restore_progress(memory: Memory, saved: list[int]) -> None:
    """Set the counters to what `progress` returned."""
    memory.updates, complete, memory.rows_filling, memory.rows_kept = saved
    memory.complete = bool(complete)


def empty_gradient(parameters: Tensor, inputs: int, samples: int | None) -> Tensor:
    return parameters.new_zeros(parameters.shape)


def add_gradient(memory: Memory, inputs: Tensor, gradient: Tensor) -> None:
    if memory.updates:
        memory.filling.add_(gradient)
    else:
        memory.filling.copy_(gradient)


def divide_by_updates(memory: Memory) -> None:
    memory.filling.div_(memory.updates)


def mean_gradient(memory: Memory, other_gradient: OtherGradient) -> Tensor:
    return memory.kept


def empty_samples(parameters: Tensor, inputs: int, samples: int | None) -> Tensor:
    assert samples is not None
    return parameters.new_zeros(samples, inputs)


def store_samples(memory: Memory, inputs: Tensor, gradient: Tensor) -> None:
    rows = inputs[: len(memory.filling)]
    memory.filling[: len(rows)] = rows
    memory.rows_filling = max(memory.rows_filling, len(rows))


def leave_samples(memory: Memory) -> None:
    pass


def replayed_gradient(memory: Memory, other_gradient: OtherGradient) -> Tensor:
    return other_gradient(memory.kept[: memory.rows_kept])


GRADIENT_MEMORY = MemoryMethod(empty_gradient, add_gradient, divide_by_updates, mean_gradient)
REPLAY = MemoryMethod(empty_samples, store_samples, leave_samples, replayed_gradient)

CURES = {
    cure.name: cure
    for cure in (
        CureMethod("none", "keep nothing across phases", 0.16),
        CureMethod("gradient-memory", "keep the mean gradient of the other phase", 0.16, GRADIENT_MEMORY),
        CureMethod("replay", "keep inputs of the other phase and train on them too", 0.64, REPLAY, 512),
    )
}
