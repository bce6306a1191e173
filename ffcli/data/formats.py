"""Readers of the file formats of datasets: idx, CIFAR-10's python archive and `.npz`.

Every reader checks digests, shapes and types, and raises BadData that names the file and the problem. Compressed files
may hold a thousand times their size: a reader stops at the size that the dataset can have, and the sizes that an `.npz`
declares are summed before its content is read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import math
import pickle
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array, read_array_header_1_0, read_array_header_2_0
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
    train_images, train_labels, test_images, test_labels = (read_idx(path, digest, limit) for path, digest in files)
    return _checked(
        f"{files[0][0].parent}",
        Images(
            train_images[:, np.newaxis],
            train_labels.astype(np.int64),
            test_images[:, np.newaxis],
            test_labels.astype(np.int64),
        ),
    )


def read_idx(path: Path, digest: str | None = None, limit: int = MAX_BYTES) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, plain or gzipped: images (N, H, W) or labels (N,).

    Args:
        path: the file.
        digest: MD5 that the decompressed content must have; None for any content.
        limit: the largest size of the decompressed file in bytes.
    """

    def published(raw: bytes) -> str:
        return f": MD5 {_digest(raw, digest)}, expected {digest}" if digest else ""

    raw = _read(path, limit)
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                raw = _at_most(limit, path, stream.read(limit + 1))
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
    return _checked(
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
    "cifar": read_cifar_archive,
}
"""The reader of each format of the catalogue; it takes the files with their digests, and the largest size of a file."""


UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, OverflowError, RecursionError, MemoryError, NotImplementedError,
    RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, SyntaxError, tokenize.TokenError,
)  # fmt: skip
"""Exceptions that reading a damaged `.npz` can raise."""


def read_npz(path: Path) -> Images:
    """Read train_images, test_images (N, H, W[, C]) uint8 and train_labels, test_labels (N,), integers 0..K-1.

    Types, shapes and sizes are checked in the headers of the arrays, before their content is read.

    Raises:
        BadData: if the file is damaged, is not such an `.npz`, or declares more than MAX_BYTES.
    """
    names = Images._fields
    if not path.is_file():
        raise BadData(f"{path} is not a file: expected an .npz with {', '.join(names)}")
    if path.stat().st_size == 0:
        raise BadData(f"{path} is empty")
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
                raise BadData(f"{path} contains a single array, expected an .npz with {', '.join(names)}")
            with zipfile.ZipFile(stream) as archive:
                here = {name.removesuffix(".npy"): name for name in archive.namelist()}
                if missing := [name for name in names if name not in here]:
                    raise BadData(f"{path} has no {', '.join(missing)}: it contains {_listed(here)}")
                total = sum(_check_member(path, name, archive, here[name]) for name in names)
                if total > MAX_BYTES:
                    raise BadData(
                        f"{path} declares {total / 1e9:,.1f} GB of images and labels, expected at most"
                        f" {MAX_BYTES / 1e9:.1f} GB"
                    )
                arrays = {name: _member(archive, here[name]) for name in names}
    except UNREADABLE as error:
        raise BadData(f"{path} is not an .npz file, or is truncated or damaged: {_one_line(error)}") from error
    return _checked(
        str(path),
        Images(
            _channels_first(arrays["train_images"]),
            arrays["train_labels"].astype(np.int64),
            _channels_first(arrays["test_images"]),
            arrays["test_labels"].astype(np.int64),
        ),
    )


def _check_member(path: Path, name: str, archive: zipfile.ZipFile, member: str) -> int:
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
    check = _check_images if name.endswith("images") else _check_labels
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


def _check_images(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype != np.uint8:
        raise BadData(f"{path}: {name} has type {_type(dtype)}, expected uint8 (pixels 0 to 255)")
    if len(shape) not in (3, 4) or 0 in shape:
        raise BadData(f"{path}: {name} has shape {shape}, expected (N, H, W) or (N, H, W, C) without zeros")
    if len(shape) == 4 and shape[1] <= 4 < shape[3]:
        raise BadData(f"{path}: {name} has shape {shape}, expected channels last: (N, H, W, C)")


def _check_labels(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iu" or len(shape) != 1:
        raise BadData(
            f"{path}: {name} has type {_type(dtype)} and shape {shape}, expected integers (N,), one per image"
        )


def _type(dtype: np.dtype[Any]) -> str:
    return {"O": "object", "U": "text", "S": "text", "V": "record"}.get(dtype.kind, dtype.name)


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images[:, np.newaxis] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


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


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from error
    if not raw:
        raise BadData(f"{path} is empty")
    return _at_most(limit, path, raw)


def _at_most(limit: int, path: Path, raw: bytes) -> bytes:
    if len(raw) > limit:
        raise BadData(f"{path} is not the published file: it holds more than {limit:,} bytes")
    return raw


def _check_digest(path: Path, raw: bytes, expected: str) -> None:
    found = _digest(raw, expected)
    if found != expected:
        kind = "MD5" if len(expected) == 32 else "SHA-256"
        raise BadData(f"{path} is not the published file: its {kind} is {found}, expected {expected}")


def _digest(raw: bytes, expected: str) -> str:
    """Return the MD5 or SHA-256 of `raw`, whichever `expected` is."""
    return hashlib.new("md5" if len(expected) == 32 else "sha256", raw, usedforsecurity=False).hexdigest()
