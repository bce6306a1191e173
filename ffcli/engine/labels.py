"""How the network sees a label: the image's first K features are its label, one of them raised."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Labelled(NamedTuple):
    """Images and the label that each is shown under."""

    images: Tensor  # (rows, features), normalised pixels
    labels: Tensor  # (rows,), int64
    amplitude: float
    """What a raised label feature is set to: the maximum of the normalised training data."""


def overlay(data: Labelled, *, classes: int, out: Tensor) -> Tensor:
    """The images (rows, features) with their first `classes` features 0 and the label's at the amplitude."""
    out.copy_(data.images)
    out[:, :classes] = 0
    return out.scatter_(1, data.labels.unsqueeze(1), data.amplitude)
