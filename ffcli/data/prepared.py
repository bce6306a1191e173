"""Prepared copies: one safetensors file per dataset and source, ready for training and readable without torch.

The path of a copy is `FOLDER/prepared/NAME-SOURCE-FINGERPRINT.safetensors`. Its header contains the `DataRef`, so that
finding a dataset does not read pixels. The fingerprint is the SHA-256 of the content, verified on every read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from ffcli.config import DataRef, DataSource
from ffcli.errors import BadData
from ffcli.files import TEMPORARY, disk_full, is_disk_full, remove_stale, replacing

LAYOUT = 1
"""Version of the file layout. Increase it when copies of earlier versions can no longer be read."""

DAMAGED = (SafetensorError, OSError, ValueError, KeyError, TypeError)
"""Exceptions that reading a damaged copy can raise."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """A dataset ready for training. Images are flattened channels first, F = C * H * W."""

    train_images: NDArray[np.uint8]
    """(N, F)"""
    train_labels: NDArray[np.int64]
    """(N,), 0..K-1"""
    test_images: NDArray[np.uint8]
    """(M, F)"""
    test_labels: NDArray[np.int64]
    """(M,), 0..K-1"""
    mean: tuple[float, ...]
    """Mean of each channel of pixels / 255."""
    std: tuple[float, ...]
    """Standard deviation of each channel of pixels / 255."""
    image_shape: tuple[int, int, int]
    """(C, H, W)"""

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.image_shape[0]


@dataclass(frozen=True, slots=True)
class Copy:
    """The header of a prepared copy."""

    file: Path
    ref: DataRef
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str
    """Where the data came from, for display."""
    stamp: str
    """Identifies the content of the source `.npz` without reading it; empty for named datasets, which never change."""


def fingerprint(arrays: Arrays) -> str:
    """Return the SHA-256 of shapes, normalisation, pixels and labels, independent of machine and memory layout."""
    contents = (arrays.train_images, arrays.train_labels, arrays.test_images, arrays.test_labels)
    form = [[(a.dtype.name, a.shape) for a in contents], arrays.image_shape, arrays.mean, arrays.std]
    digest = hashlib.sha256(json.dumps(form).encode())
    for content in contents:
        digest.update(np.ascontiguousarray(content, dtype=content.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def write(
    folder: Path,
    name: str,
    source: DataSource,
    arrays: Arrays,
    *,
    origin: str,
    path: str | None = None,
    stamp: str = "",
) -> DataRef:
    """Write a prepared copy atomically, and remove what killed processes left unfinished beside it.

    Args:
        folder: the data folder.
        name: name of the dataset.
        source: `full`, `sample` or `file`.
        arrays: the content.
        origin: where the data came from, for display.
        path: path of the source `.npz`; None for named datasets.
        stamp: identifies the content of that file without reading it.

    Raises:
        StorageFull: if the disk is full.
        BadData: if the folder cannot be written.
    """
    test_counts = np.unique(arrays.test_labels, return_counts=True)[1]
    ref = DataRef(
        name=name,
        source=source,
        fingerprint=fingerprint(arrays),
        features=arrays.train_images.shape[1],
        classes=int(arrays.train_labels.max()) + 1,
        train=len(arrays.train_labels),
        test=len(arrays.test_labels),
        largest_class=100 * float(test_counts.max()) / len(arrays.test_labels),
        path=path,
    )
    text = json.dumps(
        {
            "layout": LAYOUT,
            "ref": ref.model_dump(mode="json"),
            "image_shape": arrays.image_shape,
            "mean": arrays.mean,
            "std": arrays.std,
            "origin": origin,
            "stamp": stamp,
        }
    )
    tensors: dict[str, NDArray[Any]] = {
        "train_images": arrays.train_images,
        "train_labels": arrays.train_labels,
        "test_images": arrays.test_images,
        "test_labels": arrays.test_labels,
    }
    file = copy_of(folder, ref)
    with writing(folder):
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(file.parent, f"*{TEMPORARY}")
        with replacing(file) as part:
            part.write_bytes(save(tensors, metadata={"ffcli": f"{_sha256(text)} {text}"}))
    return ref


def copy_of(folder: Path, ref: DataRef) -> Path:
    """Return the path of the prepared copy of `ref`."""
    return folder / "prepared" / f"{_safe(ref.name)}-{ref.source}-{ref.fingerprint[:12]}.safetensors"


def copies(folder: Path, name: str | None = None, source: DataSource | None = None) -> Iterator[Copy | Path]:
    """Yield the headers of the prepared copies, filtered by name and source; for a damaged copy, yield its path."""
    pattern = f"{_safe(name) if name else '*'}-{source or '*'}-*.safetensors"
    for file in sorted((folder / "prepared").glob(pattern)):
        try:
            copy = _header(file)
        except DAMAGED:
            yield file
            continue
        if copy and name in (None, copy.ref.name) and source in (None, copy.ref.source):
            yield copy


def read(folder: Path, ref: DataRef) -> Arrays | None:
    """Return the content of `ref`, or None if its copy is missing or damaged."""
    file = copy_of(folder, ref)
    try:
        copy, tensors = _header(file), load_file(file)
        if copy is None:
            return None
        arrays = Arrays(**tensors, mean=copy.mean, std=copy.std, image_shape=copy.image_shape)
    except DAMAGED:
        return None
    return arrays if fingerprint(arrays) == ref.fingerprint else None


def _header(file: Path) -> Copy | None:
    """Return the header, or None for another layout. `safe_open` also checks the file size against the header."""
    with safe_open(file, framework="numpy") as opened:
        digest, _, text = opened.metadata()["ffcli"].partition(" ")
    if digest != _sha256(text):
        raise ValueError(f"the header of {file} is damaged")
    about: dict[str, Any] = json.loads(text)
    if about["layout"] != LAYOUT:
        return None
    channels, height, width = about["image_shape"]
    return Copy(
        file=file,
        ref=DataRef.model_validate(about["ref"]),
        image_shape=(channels, height, width),
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        origin=about["origin"],
        stamp=about["stamp"],
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _safe(name: str) -> str:
    """Return `name` as a part of a file name: without `-`, which separates the parts, and short."""
    return re.sub(r"[^\w.]", "_", name)[:40]


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Translate an OSError while writing in `folder` into StorageFull or BadData."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise BadData(f"cannot write in {folder}: {error.strerror}; give another folder with --data-dir") from error
