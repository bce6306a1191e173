"""The file formats that data sets come in: idx, CIFAR-10's python archive, `.npz`.

Every reader checks digest, form and sizes, and raises BadData naming the file and what is wrong with it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcli.errors import BadData


class Images(NamedTuple):
    """Both splits of a data set: images (N, C, H, W) uint8, labels (N,) int64 in 0..K-1."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def read_idx_set(files: Sequence[tuple[Path, str]]) -> Images:
    """The four idx files of a data set in `Images`' order, each with the MD5 of its decompressed content."""
    train_images, train_labels, test_images, test_labels = (read_idx(path, digest) for path, digest in files)
    return _checked(
        f"{files[0][0].parent}",
        Images(
            train_images[:, np.newaxis],
            train_labels.astype(np.int64),
            test_images[:, np.newaxis],
            test_labels.astype(np.int64),
        ),
    )


def read_idx(path: Path, digest: str) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, plain or gzipped: images (N, H, W) or labels (N,)."""
    raw = _read(path)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadData(f"{path} is truncated or damaged: {error}; get a fresh copy (MD5 {digest})") from error
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(raw[:4], 0)
    if dimensions == 0 or len(raw) < 4 + 4 * dimensions:
        raise BadData(f"{path} is no idx file of images or labels: MD5 {_digest(raw, digest)}, expected {digest}")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    promised, found = math.prod(shape), len(raw) - 4 - 4 * dimensions
    if promised != found:
        raise BadData(
            f"{path} is truncated or damaged: {found:,} bytes of data where its header says {promised:,};"
            f" MD5 {_digest(raw, digest)}, expected {digest}"
        )
    _check_digest(path, raw, digest)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_cifar_archive(files: Sequence[tuple[Path, str]]) -> Images:
    """`cifar-10-python.tar.gz` with its SHA-256. Read in memory: nothing is extracted to the disk."""
    [(path, digest)] = files
    raw = _read(path)
    _check_digest(path, raw, digest)
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
            batches = [_cifar_batch(archive, f"data_batch_{i}") for i in range(1, 6)]
            test_images, test_labels = _cifar_batch(archive, "test_batch")
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        pickle.UnpicklingError,
        LookupError,
        ValueError,
        TypeError,
    ) as error:
        raise BadData(f"{path} is not CIFAR-10's python archive: {error}") from error
    train_images, train_labels = zip(*batches, strict=True)
    return _checked(
        str(path), Images(np.concatenate(train_images), np.concatenate(train_labels), test_images, test_labels)
    )


def _cifar_batch(archive: tarfile.TarFile, member: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    stream = archive.extractfile(f"cifar-10-batches-py/{member}")
    if stream is None:
        raise LookupError(f"{member} is no file")
    batch = _ArrayUnpickler(stream, encoding="bytes").load()
    pixels = np.asarray(batch[b"data"])
    if pixels.dtype != np.uint8:
        raise ValueError(f"{member} holds {pixels.dtype} where uint8 was expected")
    return pixels.reshape(-1, 3, 32, 32), np.asarray(batch[b"labels"], dtype=np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """The one exception to "nothing is unpickled": CIFAR-10's batches are published as pickles and as nothing else
    that keeps its original pixels and digests. It is used only behind the archive's SHA-256, and even then admits
    just the three names that an array of numbers consists of, so no pickle can call anything else.
    """

    ADMITTED = {  # noqa: RUF012
        # `_reconstruct` has moved between numpy's modules; an array's own reduction names today's.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array of pixels needs") from None


def read_npz(path: Path) -> Images:
    """train_images, test_images (N, H, W[, C]) uint8 and train_labels, test_labels (N,) integers from 0."""
    if not path.is_file():
        raise BadData(f"{path} is no file: expected an .npz with {', '.join(Images._fields)}")
    if path.stat().st_size == 0:
        raise BadData(f"{path} is empty")
    try:
        with path.open("rb") as stream:
            npz = np.load(stream, allow_pickle=False)
            if not isinstance(npz, np.lib.npyio.NpzFile):
                raise BadData(f"{path} holds a single array, expected an .npz with {', '.join(Images._fields)}")
            missing = [name for name in Images._fields if name not in npz]
            if missing:
                raise BadData(f"{path} lacks {', '.join(missing)}: it has {', '.join(npz.files) or 'no arrays'}")
            arrays = {name: npz[name] for name in Images._fields}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise BadData(f"{path} is no .npz, or truncated or damaged: {_one_line(error)}") from error
    return _checked(
        str(path),
        Images(
            _channels_first(path, "train_images", arrays["train_images"]),
            _integers(path, "train_labels", arrays["train_labels"]),
            _channels_first(path, "test_images", arrays["test_images"]),
            _integers(path, "test_labels", arrays["test_labels"]),
        ),
    )


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels / 255 for each channel of images (N, C, H, W).

    Summed in integers, so that they, and with them the fingerprint, are the same on every machine.
    Raises ValueError where a channel is constant.
    """
    total = np.zeros(images.shape[1], np.int64)
    squares = np.zeros(images.shape[1], np.int64)
    for start in range(0, len(images), 1000):
        pixels = images[start : start + 1000].astype(np.int64)
        total += pixels.sum(axis=(0, 2, 3))
        squares += (pixels * pixels).sum(axis=(0, 2, 3))
    count = images.size // images.shape[1]
    mean, std = [], []
    for channel, (s, q) in enumerate(zip(total.tolist(), squares.tolist(), strict=True)):
        spread = count * q - s * s
        if spread == 0:
            raise ValueError(f"every pixel of channel {channel} is {s // count}: there is nothing to learn from")
        mean.append(s / count / 255)
        std.append(math.sqrt(spread) / count / 255)
    return tuple(mean), tuple(std)


def _channels_first(path: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise BadData(f"{path}: {name} holds {images.dtype}, expected uint8 (pixels 0 to 255)")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise BadData(f"{path}: {name} has shape {images.shape}, expected (N, H, W) or (N, H, W, C), none of them 0")
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.shape[1] <= 4 < images.shape[3]:
        raise BadData(f"{path}: {name} has shape {images.shape}, expected the channels last: (N, H, W, C)")
    return images.transpose(0, 3, 1, 2)


def _integers(path: Path, name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise BadData(
            f"{path}: {name} is {labels.dtype} of shape {labels.shape}, expected integers (N,), one for each image"
        )
    return labels.astype(np.int64)


def _checked(where: str, images: Images) -> Images:
    """`images` if every image has a label, both splits one image shape, and the labels are 0..K-1 with K >= 2."""
    for split in ("train", "test"):
        pixels, labels = getattr(images, f"{split}_images"), getattr(images, f"{split}_labels")
        if len(pixels) != len(labels):
            raise BadData(f"{where}: {len(pixels):,} {split}_images but {len(labels):,} {split}_labels")
    if images.train_images.shape[1:] != images.test_images.shape[1:]:
        raise BadData(
            f"{where}: training images have shape (C, H, W) = {images.train_images.shape[1:]},"
            f" test images {images.test_images.shape[1:]}"
        )
    lowest, highest = int(images.train_labels.min()), int(images.train_labels.max())
    if lowest != 0:
        raise BadData(f"{where}: the smallest train label is {lowest}, expected labels 0 to K-1")
    if highest == 0:
        raise BadData(f"{where}: all train_labels are 0, expected at least 2 classes")
    outside = images.test_labels[(images.test_labels < 0) | (images.test_labels > highest)]
    if len(outside):
        raise BadData(f"{where}: test label {outside[0]} is outside the training classes 0 to {highest}")
    return images


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from error
    if not raw:
        raise BadData(f"{path} is empty")
    return raw


def _check_digest(path: Path, raw: bytes, expected: str) -> None:
    found = _digest(raw, expected)
    if found != expected:
        kind = "MD5" if len(expected) == 32 else "SHA-256"
        raise BadData(f"{path} is not the published file: {kind} {found}, expected {expected}")


def _digest(raw: bytes, expected: str) -> str:
    """The digest of the kind that `expected` is."""
    return hashlib.new("md5" if len(expected) == 32 else "sha256", raw, usedforsecurity=False).hexdigest()
