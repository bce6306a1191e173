"""A dataset as tensors for training: normalised, on its device, with held-out images and a function for negatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcli.config import RunConfig
from ffcli.data.negatives import STRATEGIES, Pool, blur_matrix

if TYPE_CHECKING:
    from ffcli.data.datasets import Arrays

HOLDOUT_SEED = 20231018
"""Seed that chooses the held-out images: the same ones for every seed of a run."""


class Negatives(Protocol):
    """Returns the negatives (images (B, F), labels (B,)) of a positive batch."""

    def __call__(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, slots=True)
class TrainingTensors:
    """Normalised images (N, F) and labels (N,) int64, on the device of the run."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    amplitude: float
    """Maximum of the normalised training data: the value of the label's feature in the overlay."""
    negatives: Negatives
    full_batches: bool
    """Whether an epoch omits its last batch if that has fewer images than the others."""


def training_tensors(arrays: Arrays, config: RunConfig, device: torch.device) -> TrainingTensors:
    """Return all data of training and evaluation, on `device`, in the precision of `config`."""
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    images = _normalised(arrays.train_images, arrays, dtype, device)
    labels = torch.from_numpy(arrays.train_labels).to(device)
    amplitude = float(images.max())
    images, labels, validation_images, validation_labels = _hold_out(images, labels, config.holdout)
    strategy = STRATEGIES[config.negatives]
    pool = training_pool(images, arrays, config)

    def negatives(images: Tensor, labels: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return strategy.draw(images, labels, pool, generator)

    return TrainingTensors(
        images,
        labels,
        _normalised(arrays.test_images, arrays, dtype, device),
        torch.from_numpy(arrays.test_labels).to(device),
        validation_images,
        validation_labels,
        amplitude,
        negatives,
        strategy.full_batches,
    )


def training_pool(images: Tensor, arrays: Arrays, config: RunConfig) -> Pool:
    """Return the pool that negatives are made from: `images` are the normalised training images (N, F)."""
    return Pool(images, config.data.classes, arrays.image_shape, _blur(config, arrays.image_shape, images.device))


def pixels(images: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Return images (N, F), normalised or bool, as pictures (N, H, W, C) from 0 to 1."""
    shown = images.view(len(images), *arrays.image_shape).to(torch.float64)
    if images.dtype != torch.bool:
        mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (arrays.mean, arrays.std))
        shown = shown.mul(std).add_(mean).clamp_(0, 1)
    return shown.permute(0, 2, 3, 1).cpu().numpy()


def amplitude_of(arrays: Arrays, dtype: torch.dtype) -> float:
    """Return the maximum of the normalised training data, without normalising all of it."""
    brightest = arrays.train_images.reshape(len(arrays.train_images), arrays.channels, -1).max(axis=(0, 2))
    return float(_normalised(brightest[None], arrays, dtype, torch.device("cpu")).max())


def _normalised(pixels: object, arrays: Arrays, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (pixels / 255 - mean) / std by channel, (N, F)."""
    raw = torch.from_numpy(pixels).to(device)
    by_channel = partial(torch.tensor, dtype=dtype, device=device)
    mean, std = (by_channel(values).mul_(255).view(1, -1, 1) for values in (arrays.mean, arrays.std))
    return raw.view(len(raw), arrays.channels, -1).to(dtype).sub_(mean).div_(std).flatten(1)


def _hold_out(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if count == 0:
        return images, labels, images[:0], labels[:0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(HOLDOUT_SEED)).to(images.device)
    held, kept = order[:count], order[count:].sort().values
    return images[kept], labels[kept], images[held], labels[held]


def _blur(config: RunConfig, shape: tuple[int, int, int], device: torch.device) -> tuple[Tensor, Tensor] | None:
    if config.mask_blur is None:
        return None
    # Operands are multiples of 4^-blur and at most 1. For up to five blurs they fit into the 11 bits of tf32 and the
    # results into float32, for up to twelve into float64, so masks are exact in every precision.
    dtype = torch.float32 if config.mask_blur <= 5 else torch.float64
    _, height, width = shape
    rows, columns = (torch.from_numpy(blur_matrix(n, config.mask_blur)).to(device, dtype) for n in (height, width))
    return rows, columns
