"""Negative data: what the network is shown asleep. One function a strategy, registered under its name.

A strategy gets the current positive batch and a `Pool` to draw from, and returns (images, labels); the network
overlays the labels. It draws only from the generator it is given. Where it returns the very images of the positive
batch, the engine computes the image product of both halves once.

Importing this module does not import torch: the command line asks it which strategies there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Strategy = Callable[[Tensor, Tensor, "Pool", torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Pool:
    """What negatives are made of."""

    images: Tensor  # (N, features), the normalised training images
    classes: int
    image_shape: tuple[int, int, int]  # channels, height, width
    blur: tuple[Tensor, Tensor] | None  # (height, height), (width, width); see `blur_matrix`


@dataclass(frozen=True, slots=True)
class Registered:
    draw: Strategy
    masks: bool
    """Whether it blurs masks, so that the number of blurs is part of the run's identity."""
    full_batches: bool
    """Whether an epoch leaves out its last batch where that is not full."""


STRATEGIES: dict[str, Registered] = {}


def strategy(*, masks: bool = False, full_batches: bool = False) -> Callable[[Strategy], Strategy]:
    """Register a strategy under its function's name."""

    def register(draw: Strategy) -> Strategy:
        STRATEGIES[draw.__name__] = Registered(draw, masks, full_batches)
        return draw

    return register


@strategy()
def label(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same image under a uniformly random wrong label."""
    return images, wrong_labels(labels, pool.classes, generator=generator)


@strategy(masks=True, full_batches=True)
def masks(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two random training images, joined along a random mask with blurred edges (Hinton, arXiv 2212.13345, 3.2)."""
    a, b = (
        pool.images.index_select(0, labels.new_empty(len(labels)).random_(0, len(pool.images), generator=generator))
        for _ in range(2)
    )
    bits = random_bits(labels, images.shape[1], generator=generator)
    return join(a, b, bits, pool), wrong_labels(labels, pool.classes, generator=generator)


def wrong_labels(labels: Tensor, classes: int, *, generator: torch.Generator) -> Tensor:
    """For each label a uniformly random other one."""
    return labels.new_empty(labels.shape).random_(1, classes, generator=generator).add_(labels).remainder_(classes)


def random_bits(labels: Tensor, features: int, *, generator: torch.Generator) -> Tensor:
    """Fair coins, bool (rows, features): 64 from each random word, since a draw is what costs."""
    import torch

    rows = len(labels)
    words = labels.new_empty(-(-rows * features // 64)).random_(-(2**63), None, generator=generator)
    octets = words.view(torch.uint8).unsqueeze(1)
    places = torch.arange(8, dtype=torch.uint8, device=labels.device)
    bits = octets.bitwise_right_shift(places).bitwise_and_(1).view(torch.bool)
    return bits.flatten()[: rows * features].view(rows, features)


def join(a: Tensor, b: Tensor, bits: Tensor, pool: Pool) -> Tensor:
    """`a` where the blurred mask is below 1/2, else `b`; all (rows, features), channels first.

    Blurring by [1 2 1] x [1 2 1] / 16 five times is T^5 m (T^5)': multiples of 2^-20, so exact in float32 in any
    order of summation.
    """
    if pool.blur is None:
        raise ValueError("this pool has no blur")
    rows, columns = pool.blur
    _, height, width = pool.image_shape
    mask = bits.to(rows.dtype).view(-1, width).mm(columns.t())
    blurred = rows.matmul(mask.view(-1, height, width))
    return a.where(blurred.view(a.shape) < 0.5, b)


def blur_matrix(size: int, times: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """T^times with T = tridiagonal [1 2 1]/4, (size, size): blurring one axis with zeros beyond its ends."""
    t = (np.eye(size, k=-1) + 2 * np.eye(size) + np.eye(size, k=1)) / 4
    return np.linalg.matrix_power(t, times)
