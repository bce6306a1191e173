"""A dataset as torchvision provides it: image by image, each converted by PIL to a normalised tensor."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ffcli.data.prepared import Arrays

IDX_FILES = (
    ("train-images-idx3-ubyte", "train_images"),
    ("train-labels-idx1-ubyte", "train_labels"),
    ("t10k-images-idx3-ubyte", "test_images"),
    ("t10k-labels-idx1-ubyte", "test_labels"),
)
"""Files of MNIST, each with the field of `Arrays` that it contains."""

TORCHVISION = "torchvision"
PLAIN = "PIL and numpy"


@contextmanager
def items_of(arrays: Arrays, count: int) -> Iterator[tuple[Any, str]]:
    """Provide the first `count` training items (pixels (features,), label), and the name of what makes them.

    The items are those of torchvision's MNIST class, reading temporary idx files with the content of `arrays`. Without
    torchvision, the same steps are done by PIL and numpy.
    """
    try:
        vision = importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        yield Subset(PlainItems(arrays), range(count)), PLAIN
        return
    transforms = vision.transforms
    steps = [transforms.ToTensor(), transforms.Normalize(arrays.mean, arrays.std), transforms.Lambda(torch.flatten)]
    with TemporaryDirectory(prefix="ffcli-") as root:
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        for name, field in IDX_FILES:
            content = getattr(arrays, field)
            _write_idx(raw / name, content.reshape(-1, *arrays.image_shape[1:]) if "images" in field else content)
        items = vision.datasets.MNIST(root, train=True, transform=transforms.Compose(steps))
        yield Subset(items, range(count)), TORCHVISION


class PlainItems(Dataset[tuple[Tensor, int]]):
    """The steps of torchvision's MNIST class, done by PIL and numpy."""

    def __init__(self, arrays: Arrays) -> None:
        self.images = arrays.train_images.reshape(-1, *arrays.image_shape[1:])
        self.labels = arrays.train_labels
        self.mean, self.std = arrays.mean[0], arrays.std[0]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self.images[index])
        tensor = torch.from_numpy(np.array(image)).unsqueeze(0).float().div(255)
        return tensor.sub(self.mean).div(self.std).flatten(), int(self.labels[index])


def _write_idx(path: Path, content: NDArray[Any]) -> None:
    """Write unsigned bytes in the format of the published MNIST files."""
    with path.open("wb") as file:
        file.write(struct.pack(f">4B{content.ndim}I", 0, 0, 8, content.ndim, *content.shape))
        file.write(np.ascontiguousarray(content, np.uint8).data)
