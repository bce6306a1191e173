"""Images to classify: read from files, or checked if a Python program gives them.

The format of a file is recognised by its first bytes. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcli.data.formats import read_idx
from ffcli.data.pictures import read_picture
from ffcli.errors import BadData
from ffcli.inference.trained import Trained, border_of

PICTURES = (b"\x89PNG", b"\xff\xd8\xff")
"""First bytes of png and jpg files."""

NPZ_NAMES = ("images", "test_images", "x_test")
"""Names of the array of images in an .npz file with several arrays, in this order."""

DARK, BRIGHT = 85, 170
"""A border is dark or bright below and above these means of its pixels (0 to 255)."""

Pixels = NDArray[np.uint8]


class Named(NamedTuple):
    """Images (N, C, H, W) with a name for each."""

    names: list[str]
    images: Pixels


def read_images(paths: Sequence[Path], trained: Trained, *, resize: bool, invert: bool, notify: Any) -> Named:
    """Read images in the form that a network takes.

    Colour becomes grey for a network of grey images, with a notice; grey becomes colour without one.

    Args:
        paths: png, jpg, idx (plain or gzipped), npz and npy files.
        trained: the network.
        resize: whether to scale images of another size.
        invert: whether to exchange dark and bright.
        notify: called with notices of one line.

    Raises:
        BadData: if a file cannot be read, or its images do not fit the network.
    """
    names: list[str] = []
    batches = []
    for path in paths:
        images = _fitted(path, _read(path), trained, resize=resize, notify=notify)
        images = 255 - images if invert else images
        if _looks_inverted(images, trained.border):
            other = "leave out --invert" if invert else "--invert exchanges dark and bright"
            seen, known = ("bright", "dark") if trained.border < DARK else ("dark", "bright")
            notify(f"{path}: the border is {seen}, but {known} in the training images: {other}")
        names += [str(path)] if len(images) == 1 else [f"{path}[{number}]" for number in range(len(images))]
        batches.append(images)
    return Named(names, np.concatenate(batches))


def checked(images: Any, trained: Trained) -> Pixels:
    """Return images (N, H, W) or (N, H, W, C), uint8, as (N, C, H, W).

    Raises:
        BadData: if they have another type or shape than the network takes.
    """
    try:
        array = np.asarray(images)
    except (ValueError, TypeError) as error:
        raise BadData(f"the images are not one array: {' '.join(str(error).split())}") from error
    channels, height, width = trained.image_shape
    forms = [(height, width, channels)] + ([(height, width)] if channels == 1 else [])
    if array.dtype != np.uint8 or array.shape[1:] not in forms:
        right = " or ".join(str(("N", *form)).replace("'", "") for form in forms)
        raise BadData(
            f"the images have type {array.dtype} and shape {array.shape}, {trained.title} takes uint8 (pixels 0 to 255)"
            f" and {right}"
        )
    return _channels_first(array)


def _fitted(path: Path, images: Pixels, trained: Trained, *, resize: bool, notify: Any) -> Pixels:
    """Return images (N, H, W, C) with the channels and the size of the network's, as (N, C, H, W)."""
    channels, height, width = trained.image_shape
    found = images.shape[3]
    if found != channels and 1 not in (found, channels):
        raise BadData(f"{path} has {found} channels, {trained.title} takes {channels}")
    if found > channels:
        images = _converted(images, "L")
        notify(f"{path}: converted from colour to grey")
    elif found < channels:
        images = np.repeat(images, channels, axis=3)
    if images.shape[1:3] != (height, width):
        if not resize:
            raise BadData(
                f"{path} has {images.shape[1]} x {images.shape[2]} pixels (height x width), {trained.title} takes"
                f" {height} x {width}: --resize scales it"
            )
        images = _resized(images, height, width)
    return _channels_first(images)


def _looks_inverted(images: Pixels, border: float) -> bool:
    found = border_of(images) if len(images) else border
    return (border < DARK and found > BRIGHT) or (border > BRIGHT and found < DARK)


def _channels_first(images: Pixels) -> Pixels:
    four = images[..., np.newaxis] if images.ndim == 3 else images
    return np.ascontiguousarray(four.transpose(0, 3, 1, 2))


def _read(path: Path) -> Pixels:
    """Return the images of a file (N, H, W, C) with 1, 3 or any number of channels."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise BadData(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if not start:
        raise BadData(f"{path} is empty")
    if start[:2] == b"PK" or start == b"\x93NUM":
        return _array(path, _numpy_array(path))
    if start[:2] in (b"\0\0", b"\x1f\x8b"):
        return _array(path, read_idx(path))
    if start.startswith(PICTURES):
        return read_picture(path)[np.newaxis]
    raise BadData(f"{path} is not a png, jpg, idx, npz or npy file")


def _numpy_array(path: Path) -> NDArray[Any]:
    """Read an .npy file, or the images of an .npz file."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            names = content.files
            name = next((name for name in NPZ_NAMES if name in names), names[0] if len(names) == 1 else None)
            if name is None:
                raise BadData(
                    f"{path} has no array of images: expected {' or '.join(NPZ_NAMES)}, it contains"
                    f" {', '.join(names) or 'nothing'}"
                )
            found: NDArray[Any] = content[name]
            return found
    except BadData:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
        raise BadData(f"{path} is damaged, or contains other things than numbers") from error


def _array(path: Path, array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8:
        raise BadData(f"{path}: the images have type {array.dtype}, expected uint8 (pixels 0 to 255)")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise BadData(f"{path}: the images have shape {array.shape}, expected (N, H, W) or (N, H, W, C) without zeros")
    return array if array.ndim == 4 else array[..., np.newaxis]


def _converted(images: Pixels, mode: str) -> Pixels:
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(image).convert(mode)) for image in images])[..., np.newaxis]


def _resized(images: Pixels, height: int, width: int) -> Pixels:
    from PIL import Image

    def scaled(plane: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))

    return np.stack([np.stack([scaled(image[..., c]) for c in range(image.shape[2])], axis=-1) for image in images])
