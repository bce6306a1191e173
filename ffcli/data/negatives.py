"""Negative data: one function per strategy.

To add a strategy, write a function and register it with `@strategy`; its name then is a value of `--neg`. A strategy
takes the current positive batch and a `Pool`, and returns images (B, F) and labels (B,), which the network overlays. It
draws random numbers only from the generator that it is given. If it returns the images of the positive batch
themselves (the same tensor), the engine computes their product with layer 1's weights once for both halves.

Importing this module is cheap (no numpy, no torch): the command line lists the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    Draw = Callable[[Tensor, Tensor, "Pool", torch.Generator], tuple[Tensor, Tensor]]
    Steps = Callable[[Tensor, Tensor, "Pool", torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Pool:
    """What negatives are made from."""

    images: Tensor
    """(N, F), all normalised training images."""
    classes: int
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    blur: tuple[Tensor, Tensor] | None
    """Blur matrices of rows (H, H) and columns (W, W), see `blur_matrix`; None for strategies without masks."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A registered way to make negatives."""

    name: str
    help: str
    """One line for the command line's help."""
    draw: Draw
    """Returns the negatives (images, labels) of a positive batch."""
    masks: bool
    """Whether it uses masks; then the number of blurs is part of the run key."""
    full_batches: bool
    """Whether an epoch omits its last batch if that has fewer images than the others."""
    steps: Steps | None = None
    """Returns what lies between a positive batch and its negatives by name, for a figure: images (B, F), normalised, or
    bool. With a generator in the same state it makes the same draws as `draw`."""


STRATEGIES: dict[str, Strategy] = {}


def strategy(
    *, help: str, masks: bool = False, full_batches: bool = False, steps: Steps | None = None
) -> Callable[[Draw], Draw]:
    """Register a function as a strategy under its own name."""

    def register(draw: Draw) -> Draw:
        STRATEGIES[draw.__name__] = Strategy(draw.__name__, help, draw, masks, full_batches, steps)
        return draw

    return register


@strategy(help="The same image with a random wrong label.")
def label(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the same images with uniformly random wrong labels."""
    return images, wrong_labels(labels, pool.classes, generator=generator)


def mask_steps(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the two parents of each negative, and the mask: True where the negative shows the first parent."""
    a, b, mask = _parents(images, labels, pool, generator)
    return {"parent a": a, "parent b": b, "mask": mask}


@strategy(
    help="Two random images combined through a blurred random mask, with a random label.",
    masks=True,
    full_batches=True,
    steps=mask_steps,
)
def masks(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Combine two random training images through a random mask with blurred edges (Hinton, arXiv 2212.13345, 3.2).

    The labels are uniformly random labels other than those of the positive batch.
    """
    a, b, mask = _parents(images, labels, pool, generator)
    return a.where(mask, b), wrong_labels(labels, pool.classes, generator=generator)


def _parents(images: Tensor, labels: Tensor, pool: Pool, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return two random training images for each negative (B, F), and its mask, bool (B, F)."""
    a, b = (
        pool.images.index_select(0, labels.new_empty(len(labels)).random_(0, len(pool.images), generator=generator))
        for _ in range(2)
    )
    return a, b, blurred_mask(random_bits(labels, images.shape[1], generator=generator), pool)


def wrong_labels(labels: Tensor, classes: int, *, generator: torch.Generator) -> Tensor:
    """Return for each label a uniformly random other label of 0..classes-1."""
    return labels.new_empty(labels.shape).random_(1, classes, generator=generator).add_(labels).remainder_(classes)


def random_bits(labels: Tensor, features: int, *, generator: torch.Generator) -> Tensor:
    """Return fair random bits, bool (B, features), on the device of `labels` (B,).

    Each random 64-bit word gives 64 bits, because drawing words dominates the cost.
    """
    import torch

    rows = len(labels)
    words = labels.new_empty(-(-rows * features // 64)).random_(-(2**63), None, generator=generator)
    octets = words.view(torch.uint8).unsqueeze(1)
    places = torch.arange(8, dtype=torch.uint8, device=labels.device)
    bits = octets.bitwise_right_shift(places).bitwise_and_(1).view(torch.bool)
    return bits.flatten()[: rows * features].view(rows, features)


def blurred_mask(bits: Tensor, pool: Pool) -> Tensor:
    """Return where the blurred mask is below 1/2, bool (B, F).

    Five blurs with [1 2 1] x [1 2 1] / 16 are T^5 m (T^5)', see `blur_matrix`. All terms are multiples of 2^-20, so
    float32 sums are exact in any order.

    Args:
        bits: the mask before blurring, bool (B, F).
        pool: gives the image shape and the blur matrices.
    """
    if pool.blur is None:
        raise ValueError("this pool has no blur")
    rows, columns = pool.blur
    _, height, width = pool.image_shape
    mask = bits.to(rows.dtype).view(-1, width).mm(columns.t())
    blurred = rows.matmul(mask.view(-1, height, width))
    return blurred.view(bits.shape) < 0.5


def blur_matrix(size: int, times: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return T^times (size, size) with T = tridiagonal [1 2 1] / 4: `times` blurs along one axis, padded with zeros."""
    import numpy as np

    t = (np.eye(size, k=-1) + 2 * np.eye(size) + np.eye(size, k=1)) / 4
    return np.linalg.matrix_power(t, times)
