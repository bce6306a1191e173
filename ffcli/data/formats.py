"""Readers of the file formats of published datasets: idx, CIFAR-10's python archive, EMNIST's archive, SVHN's .mat.

Every reader checks digests, shapes and types, and raises BadData that names the file and the problem. Compressed files
may hold a thousand times their size: a reader stops at the size that the dataset can have.
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

MAX_BYTES = 2 << 30
"""Largest size of the content of a file: training also holds the images as float32, four times as large."""


class Images(NamedTuple):
    """Both splits of a dataset: images (N, C, H, W) uint8, labels (N,) int64 in 0..K-1."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def read_idx_set(files: Sequence[tuple[Path, str]], limit: int) -> Images:
    """Read four idx files in the order of the fields of `Images`, each with the MD5 of its decompressed content.

    Args:
        files: paths with digests.
        limit: the largest size of a decompressed file in bytes.

    Raises:
        BadData: if a file is larger, damaged, or not the published one.
    """
    return _idx_images(f"{files[0][0].parent}", [read_idx(path, digest, limit) for path, digest in files])


def read_gzipped_idx_set(files: Sequence[tuple[Path, str]], limit: int) -> Images:
    """Read four idx.gz files like `read_idx_set`, each with the MD5 of the compressed file."""
    arrays = []
    for path, digest in files:
        raw = _read(path, limit)
        _check_digest(path, raw, digest)
        arrays.append(_idx_array(path, _decompressed(path, raw, limit)))
    return _idx_images(f"{files[0][0].parent}", arrays)


def read_idx(path: Path, digest: str | None = None, limit: int = MAX_BYTES) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, plain or gzipped: images (N, H, W) or labels (N,).

    Args:
        path: the file.
        digest: MD5 that the decompressed content must have; None for any content.
        limit: the largest size of the decompressed file in bytes.
    """
    return _idx_array(path, _decompressed(path, _read(path, limit), limit, digest), digest)


def _decompressed(path: Path | str, raw: bytes, limit: int, digest: str | None = None) -> bytes:
    """Return `raw`, decompressed if it is gzipped."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return _at_most(limit, path, stream.read(limit + 1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        advice = f"; get a fresh copy (MD5 {digest})" if digest else ""
        raise BadData(f"{path} is truncated or damaged: {error}{advice}") from error


def _idx_array(path: Path | str, raw: bytes, digest: str | None = None) -> NDArray[np.uint8]:
    """Return the array of an idx file; `digest` is the MD5 that `raw` must have, if it is known."""

    def published(raw: bytes) -> str:
        return f": MD5 {_digest(raw, digest)}, expected {digest}" if digest else ""

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


def _idx_images(where: str, arrays: Sequence[NDArray[np.uint8]]) -> Images:
    train_images, train_labels, test_images, test_labels = arrays
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if (images.ndim, labels.ndim) != (3, 1):
            raise BadData(f"{where}: the idx files are not those of images and labels")
    return checked(
        where,
        Images(
            train_images[:, np.newaxis],
            train_labels.astype(np.int64),
            test_images[:, np.newaxis],
            test_labels.astype(np.int64),
        ),
    )


def read_emnist_letters(files: Sequence[tuple[Path, str]], limit: int) -> Images:
    """Read the letters of EMNIST's archive `gzip.zip`, given with its MD5, without extracting it to the disk.

    The archive has the images transposed and the labels from 1; here they are upright, and 0 is the letter a.

    Args:
        files: the path with its digest.
        limit: the largest size of each member in bytes, decompressed.

    Raises:
        BadData: if it is damaged, or not the published archive.
    """
    [(path, digest)] = files
    try:
        with path.open("rb") as stream:
            _compare(path, hashlib.file_digest(stream, _algorithm(digest)).hexdigest(), digest)
            with zipfile.ZipFile(stream) as archive:
                arrays = [_emnist_array(path, archive, part, limit) for part in EMNIST_PARTS]
    except (OSError, KeyError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise BadData(f"{path} is not EMNIST's archive, or is damaged: {error}") from error
    train_images, train_labels, test_images, test_labels = arrays
    upright = (train_images.swapaxes(1, 2), train_labels - 1, test_images.swapaxes(1, 2), test_labels - 1)
    return _idx_images(str(path), upright)


EMNIST_PARTS = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
"""The files of a split in EMNIST's archive, in the order of the fields of `Images`."""


def _emnist_array(path: Path, archive: zipfile.ZipFile, part: str, limit: int) -> NDArray[np.uint8]:
    member = f"gzip/emnist-letters-{part}-ubyte.gz"
    with archive.open(member) as stream:
        raw = _at_most(limit, f"{path}: {member}", stream.read(limit + 1))
    return _idx_array(f"{path}: {member}", _decompressed(f"{path}: {member}", raw, limit))


def read_svhn(files: Sequence[tuple[Path, str]], limit: int) -> Images:
    """Read SVHN's `train_32x32.mat` and `test_32x32.mat`, each given with its MD5. Label 10 is the digit 0.

    Args:
        files: paths with digests.
        limit: the largest size of a file in bytes.

    Raises:
        BadData: if a file is larger, damaged, or not the published one.
    """
    (train_images, train_labels), (test_images, test_labels) = (_svhn_split(*file, limit) for file in files)
    return checked(f"{files[0][0].parent}", Images(train_images, train_labels, test_images, test_labels))


def _svhn_split(path: Path, digest: str, limit: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from scipy.io import loadmat  # type: ignore[import-untyped]

    raw = _read(path, limit)
    _check_digest(path, raw, digest)
    try:
        content = loadmat(io.BytesIO(raw), variable_names=("X", "y"))
        pixels, labels = content["X"], content["y"].ravel().astype(np.int64)
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise BadData(f"{path} is not a .mat file of SVHN: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape[:3] != (32, 32, 3):
        raise BadData(f"{path}: X has type {pixels.dtype} and shape {pixels.shape}, expected uint8 (32, 32, 3, N)")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels % 10


def read_cifar_archive(files: Sequence[tuple[Path, str]], limit: int) -> Images:
    """Read `cifar-10-python.tar.gz`, given with its SHA-256, without extracting it to the disk.

    Args:
        files: the path with its digest.
        limit: the largest size of the archive and of each member in bytes.

    Raises:
        BadData: if it is larger, damaged, or not the published archive.
    """
    [(path, digest)] = files
    raw = _read(path, limit)
    _check_digest(path, raw, digest)
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
            batches = [_cifar_batch(archive, f"data_batch_{i}", limit) for i in range(1, 6)]
            test_images, test_labels = _cifar_batch(archive, "test_batch", limit)
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
    return checked(
        str(path), Images(np.concatenate(train_images), np.concatenate(train_labels), test_images, test_labels)
    )


def _cifar_batch(archive: tarfile.TarFile, member: str, limit: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = archive.getmember(f"cifar-10-batches-py/{member}")
    if found.size > limit:
        raise ValueError(f"{member} has {found.size:,} bytes, expected at most {limit:,}")
    stream = archive.extractfile(found)
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


READERS: dict[str, Callable[[Sequence[tuple[Path, str]], int], Images]] = {
    "idx": read_idx_set,
    "idx.gz": read_gzipped_idx_set,
    "cifar": read_cifar_archive,
    "emnist": read_emnist_letters,
    "svhn": read_svhn,
}
"""The reader of each format of the catalogue; it takes the files with their digests, and the largest size of a file."""


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


def checked(where: str, images: Images) -> Images:
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


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from error
    if not raw:
        raise BadData(f"{path} is empty")
    return _at_most(limit, path, raw)


def _at_most(limit: int, path: Path | str, raw: bytes) -> bytes:
    if len(raw) > limit:
        raise BadData(f"{path} is not the published file: it holds more than {limit:,} bytes")
    return raw


def _check_digest(path: Path | str, raw: bytes, expected: str) -> None:
    _compare(path, _digest(raw, expected), expected)


def _compare(path: Path | str, found: str, expected: str) -> None:
    if found != expected:
        kind = "MD5" if len(expected) == 32 else "SHA-256"
        raise BadData(f"{path} is not the published file: its {kind} is {found}, expected {expected}")


def _digest(raw: bytes, expected: str) -> str:
    """Return the MD5 or SHA-256 of `raw`, whichever `expected` is."""
    return hashlib.new(_algorithm(expected), raw, usedforsecurity=False).hexdigest()


def _algorithm(expected: str) -> str:
    return "md5" if len(expected) == 32 else "sha256"
