"""The overlay: how the network is shown a label, which is written into the first K features of the image."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Labelled(NamedTuple):
    """Images, each with the label it is shown with."""

    images: Tensor  # (rows, features), normalised pixels
    labels: Tensor  # (rows,), int64
    amplitude: float
    """Value of the label's feature: the maximum of the normalised training data."""


def overlay(data: Labelled, *, classes: int, out: Tensor) -> Tensor:
    """Return the images (rows, features) with the first `classes` features 0, but the label's at the amplitude."""
    out.copy_(data.images)
    out[:, :classes] = 0
    return out.scatter_(1, data.labels.unsqueeze(1), data.amplitude)
