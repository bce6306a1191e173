"""Read a dataset from the user's `.npz` file.

Types, shapes and sizes are checked in the headers of the arrays before their content is read: a compressed file may
hold a thousand times its size. Nothing is unpickled.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array, read_array_header_1_0, read_array_header_2_0
from numpy.typing import NDArray

from ffcli.data.formats import MAX_BYTES, Images, checked
from ffcli.errors import BadData

NAMES = Images._fields
KERAS_NAMES = ("x_train", "y_train", "x_test", "y_test")
"""Names of the arrays in the files of Keras, in the order of NAMES."""

UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, RecursionError, MemoryError, NotImplementedError,
    RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, SyntaxError, tokenize.TokenError,
)  # fmt: skip
"""Exceptions that reading a damaged `.npz` can raise."""


def read_npz(path: Path) -> Images:
    """Read a dataset from an `.npz` file.

    The arrays are train_images and test_images (N, H, W[, C]), and train_labels and test_labels (N,) or (N, 1),
    integers 0..K-1, or have the names of Keras. Pixels are uint8, or other numbers that `to_bytes` converts exactly.

    Raises:
        BadData: if the file is damaged, is not such an `.npz`, or declares more than MAX_BYTES.
    """
    if not path.is_file():
        raise BadData(f"{path} is not a file: expected an .npz with {', '.join(NAMES)}")
    if path.stat().st_size == 0:
        raise BadData(f"{path} is empty")
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
                raise BadData(f"{path} contains a single array, expected an .npz with {', '.join(NAMES)}")
            with zipfile.ZipFile(stream) as archive:
                here = {name.removesuffix(".npy"): name for name in archive.namelist()}
                names = max((NAMES, KERAS_NAMES), key=lambda names: len(here.keys() & set(names)))
                if missing := [name for name in names if name not in here]:
                    raise BadData(f"{path} has no {', '.join(missing)}: it contains {_listed(here)}")
                checks = (_check_images, _check_labels, _check_images, _check_labels)
                total = sum(
                    _check_member(path, name, archive, here[name], check)
                    for name, check in zip(names, checks, strict=True)
                )
                if total > MAX_BYTES:
                    raise BadData(
                        f"{path} declares {total / 1e9:,.1f} GB of images and labels, expected at most"
                        f" {MAX_BYTES / 1e9:.1f} GB"
                    )
                arrays = [_member(archive, here[name]) for name in names]
    except UNREADABLE as error:
        raise BadData(f"{path} is not an .npz file, or is truncated or damaged: {_one_line(error)}") from error
    train_images, train_labels, test_images, test_labels = arrays
    unit = is_unit(train_images)
    return checked(
        str(path),
        Images(
            _channels_first(to_bytes(train_images, f"{path}: {names[0]}", unit=unit)),
            train_labels.ravel().astype(np.int64),
            _channels_first(to_bytes(test_images, f"{path}: {names[2]}", unit=unit)),
            test_labels.ravel().astype(np.int64),
        ),
    )


def is_unit(images: NDArray[Any]) -> bool:
    """Return whether floats are pixels from 0 to 1, and not from 0 to 255."""
    return images.dtype.kind == "f" and not bool(images.max() > 1)


def to_bytes(images: NDArray[Any], name: str, *, unit: bool) -> NDArray[np.uint8]:
    """Return pixels as bytes, if they can be converted exactly.

    Floats that were bytes divided by 255 differ from multiples of 1/255 only by their rounding.

    Args:
        images: numbers of any shape.
        name: of the images, for messages.
        unit: whether they are floats from 0 to 1.

    Raises:
        BadData: if a number is no whole grey level from 0 to 255.
    """
    if images.dtype == np.uint8:
        return images
    pixels = np.empty(images.shape, np.uint8)
    factor, step, limit = (255, "a multiple of 1/255", 1) if unit else (1, "a whole number", 255)
    tolerance = max(1e-3, 255 * float(np.finfo(images.dtype).eps)) if unit else 0.0
    for start in range(0, len(images), 1000):
        values = images[start : start + 1000]
        scaled = values.astype(np.float64) * factor
        # Comparisons with NaN are false.
        outside = ~((values >= 0) & (values <= limit))
        if outside.any():
            raise BadData(
                f"{name} has a pixel {values[outside][0]:g}, expected 0 to {limit} in training and test images"
            )
        levels = np.rint(scaled)
        between = np.abs(scaled - levels) > tolerance
        if between.any():
            raise BadData(
                f"{name} has a pixel {values[between][0]:g}, which is not {step}: ffcli stores bytes without rounding;"
                " round the pixels to 0 to 255 and save them as uint8"
            )
        pixels[start : start + 1000] = levels
    return pixels


Check = Callable[[Path, str, tuple[int, ...], np.dtype[Any]], None]


def _check_member(path: Path, name: str, archive: zipfile.ZipFile, member: str, check: Check) -> int:
    """Return the size in bytes that a member of an `.npz` declares, after checking type and shape in its header."""
    with archive.open(member) as stream:
        if stream.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
            raise BadData(f"{path}: {name} is not an array")
        version = stream.read(2)
        read_header = {b"\1\0": read_array_header_1_0, b"\2\0": read_array_header_2_0}.get(version)
        if read_header is None:
            raise BadData(f"{path}: {name} has an unknown format: write the file with numpy.savez")
        shape, _, dtype = read_header(stream)
        header = stream.tell()
    check(path, name, shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    if archive.getinfo(member).file_size != header + size:
        raise BadData(f"{path} is truncated or damaged: the size of {name} differs from its header")
    return size


def _member(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        array: NDArray[Any] = read_array(stream, allow_pickle=False)
        stream.read()  # to the end, where the checksum is verified
    return array


def _listed(names: Iterable[str]) -> str:
    """The first names of what an `.npz` contains."""
    first = list(names)[:10]
    return ", ".join(name[:50] for name in first) or "no arrays"


def _check_images(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise BadData(f"{path}: {name} has type {_type(dtype)}, expected uint8 from 0 to 255, or floats in [0, 1]")
    if len(shape) not in (3, 4) or 0 in shape:
        raise BadData(f"{path}: {name} has shape {shape}, expected (N, H, W) or (N, H, W, C) without zeros")
    if len(shape) == 4 and shape[1] <= 4 < shape[3]:
        raise BadData(f"{path}: {name} has shape {shape}, expected channels last: (N, H, W, C)")


def _check_labels(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iu" or (len(shape) != 1 and shape[1:] != (1,)):
        raise BadData(
            f"{path}: {name} has type {_type(dtype)} and shape {shape}, expected integers (N,), one per image"
        )


def _type(dtype: np.dtype[Any]) -> str:
    return {"O": "object", "U": "text", "S": "text", "V": "record"}.get(dtype.kind, dtype.name)


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images[:, np.newaxis] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
