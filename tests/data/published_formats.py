"""Write small datasets in the formats in which KMNIST, EMNIST and SVHN are published."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat  # type: ignore[import-untyped]

from ffcli.data.catalogue import CATALOGUE, Spec


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def md5(raw: bytes) -> str:
    return hashlib.md5(raw).hexdigest()


def published(folder: Path, name: str) -> tuple[Spec, list[np.ndarray[Any, Any]]]:
    """Write a small dataset in the published format; return its entry of the catalogue, and the images to expect."""
    rng = np.random.default_rng(0)
    spec = CATALOGUE[name]
    shape = spec.image_shape
    pixels = [rng.integers(0, 256, (count, *shape), dtype=np.uint8) for count in (60, 26)]
    labels = [np.arange(count) % 10 for count in (60, 26)]
    folder.mkdir(exist_ok=True)
    if name == "svhn":
        for (file, _), images, digits in zip(spec.files, pixels, labels, strict=True):
            published = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
            savemat(folder / file, {"X": images.transpose(2, 3, 1, 0), "y": published}, do_compression=True)
    elif name == "kmnist":
        arrays: list[np.ndarray[Any, Any]] = [pixels[0][:, 0], labels[0], pixels[1][:, 0], labels[1]]
        for (file, _), array in zip(spec.files, arrays, strict=True):
            (folder / file).write_bytes(gzip.compress(idx(array)))
    else:
        labels = [np.arange(60) % 26, np.arange(26)]
        with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
            for split, images, letters in zip(("train", "test"), pixels, labels, strict=True):
                stem = f"gzip/emnist-letters-{split}"
                transposed = idx(images[:, 0].swapaxes(1, 2))
                archive.writestr(f"{stem}-images-idx3-ubyte.gz", gzip.compress(transposed))
                archive.writestr(f"{stem}-labels-idx1-ubyte.gz", gzip.compress(idx(letters + 1)))
                archive.writestr(f"gzip/emnist-digits-{split}-images-idx3-ubyte.gz", b"of another split")
    files = tuple((file, md5((folder / file).read_bytes())) for file, _ in spec.files)
    return dataclasses.replace(spec, files=files), [pixels[0], labels[0], pixels[1], labels[1]]
