"""Readers of the file formats of datasets: idx, CIFAR-10's python archive and `.npz`.

Every reader checks digests, shapes and types, and raises BadData that names the file and the problem.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcli.errors import BadData


class Images(NamedTuple):
    """Both splits of a dataset: images (N, C, H, W) uint8, labels (N,) int64 in 0..K-1."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def read_idx_set(files: Sequence[tuple[Path, str]]) -> Images:
    """Read four idx files in the order of the fields of `Images`, each with the MD5 of its decompressed content."""
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


def read_idx(path: Path, digest: str | None = None) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, plain or gzipped: images (N, H, W) or labels (N,).

    Args:
        path: the file.
        digest: MD5 that the decompressed content must have; None for any content.
    """

    def published(raw: bytes) -> str:
        return f": MD5 {_digest(raw, digest)}, expected {digest}" if digest else ""

    raw = _read(path)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            advice = f"; get a fresh copy (MD5 {digest})" if digest else ""
            raise BadData(f"{path} is truncated or damaged: {error}{advice}") from error
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(raw[:4], 0)
    if dimensions == 0 or len(raw) < 4 + 4 * dimensions:
        raise BadData(f"{path} is not an idx file of images or labels{published(raw)}")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    promised, found = math.prod(shape), len(raw) - 4 - 4 * dimensions
    if promised != found:
        raise BadData(
            f"{path} is truncated or damaged: it has {found:,} bytes of data, but its header says {promised:,}"
            + published(raw).replace(":", ";", 1)
        )
    if digest:
        _check_digest(path, raw, digest)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_cifar_archive(files: Sequence[tuple[Path, str]]) -> Images:
    """Read `cifar-10-python.tar.gz`, given with its SHA-256, without extracting it to the disk."""
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
        raise LookupError(f"{member} is not a file")
    batch = _ArrayUnpickler(stream, encoding="bytes").load()
    pixels = np.asarray(batch[b"data"])
    if pixels.dtype != np.uint8:
        raise ValueError(f"{member} has type {pixels.dtype}, expected uint8")
    return pixels.reshape(-1, 3, 32, 32), np.asarray(batch[b"labels"], dtype=np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """The only unpickler in ffcli: CIFAR-10 is published only as pickles.

    It runs after the archive's SHA-256 was verified, and allows only the three names that an array of numbers needs.
    """

    ALLOWED = {  # noqa: RUF012
        # numpy has moved `_reconstruct` between modules; the reduction of an array gives the current one.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"{module}.{name} is not allowed: an array of pixels does not need it"
            ) from None


READERS: dict[str, Callable[[Sequence[tuple[Path, str]]], Images]] = {"idx": read_idx_set, "cifar": read_cifar_archive}
"""The reader of each format of the catalogue; it takes the files with their digests."""


def read_npz(path: Path) -> Images:
    """Read train_images, test_images (N, H, W[, C]) uint8 and train_labels, test_labels (N,), integers 0..K-1."""
    if not path.is_file():
        raise BadData(f"{path} is not a file: expected an .npz with {', '.join(Images._fields)}")
    if path.stat().st_size == 0:
        raise BadData(f"{path} is empty")
    try:
        with path.open("rb") as stream:
            npz = np.load(stream, allow_pickle=False)
            if not isinstance(npz, np.lib.npyio.NpzFile):
                raise BadData(f"{path} contains a single array, expected an .npz with {', '.join(Images._fields)}")
            missing = [name for name in Images._fields if name not in npz]
            if missing:
                raise BadData(f"{path} has no {', '.join(missing)}: it contains {', '.join(npz.files) or 'no arrays'}")
            arrays = {name: npz[name] for name in Images._fields}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise BadData(f"{path} is not an .npz file, or is truncated or damaged: {_one_line(error)}") from error
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
    """Return the mean and standard deviation of pixels / 255 for each channel of images (N, C, H, W).

    Sums integers, so that the statistics, and with them the fingerprint, are the same on every machine.

    Raises:
        ValueError: if all pixels of a channel are equal.
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
            raise ValueError(f"every pixel of channel {channel} is {s // count}, expected pixels that differ")
        mean.append(s / count / 255)
        std.append(math.sqrt(spread) / count / 255)
    return tuple(mean), tuple(std)


def _channels_first(path: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise BadData(f"{path}: {name} has type {images.dtype}, expected uint8 (pixels 0 to 255)")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise BadData(f"{path}: {name} has shape {images.shape}, expected (N, H, W) or (N, H, W, C) without zeros")
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.shape[1] <= 4 < images.shape[3]:
        raise BadData(f"{path}: {name} has shape {images.shape}, expected channels last: (N, H, W, C)")
    return images.transpose(0, 3, 1, 2)


def _integers(path: Path, name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise BadData(
            f"{path}: {name} has type {labels.dtype} and shape {labels.shape}, expected integers (N,), one per image"
        )
    return labels.astype(np.int64)


def _checked(where: str, images: Images) -> Images:
    """Return `images` after checking counts, image shapes, and that labels are 0..K-1 with K >= 2."""
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
        raise BadData(f"{where}: the smallest training label is {lowest}, expected labels 0 to K-1")
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
        raise BadData(f"{path} is not the published file: its {kind} is {found}, expected {expected}")


def _digest(raw: bytes, expected: str) -> str:
    """Return the MD5 or SHA-256 of `raw`, whichever `expected` is."""
    return hashlib.new("md5" if len(expected) == 32 else "sha256", raw, usedforsecurity=False).hexdigest()
