"""The catalogue, and the places that a data set can come from: files on this machine, a download, the sample."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ffcli.data.formats import Images, read_cifar_archive, read_idx_set, read_npz
from ffcli.data.prepared import writing
from ffcli.errors import BadData, DownloadFailed
from ffcli.files import disk_full, is_disk_full

SHIPPED = "shipped with ffcli"
SAMPLE_TRAIN, SAMPLE_TEST = 10_000, 2_000
"""Images in each sample, the same number of every class."""

CONNECT_SECONDS = 3.0
STALL_SECONDS = 30.0

Notify = Callable[[str], None]
"""Takes one line for the user."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A data set of the catalogue."""

    name: str
    torchvision: str
    """Its class in `torchvision.datasets`, which knows where to download it."""
    host: str
    """The first server that torchvision asks: scheme and host."""
    files: tuple[tuple[str, str], ...]
    """File names and digests: MD5 of the decompressed idx files, or SHA-256 of an archive."""
    read: Callable[[Sequence[tuple[Path, str]]], Images]
    folders: tuple[str, ...]
    """Where its files may lie in the user's data folder; downloads go to the first."""
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    system: Path | None = None
    """Where the operating system's package puts the files."""
    has_sample: bool = False


def _idx(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[tuple[str, str], ...]:
    return (
        ("train-images-idx3-ubyte", train_images),
        ("train-labels-idx1-ubyte", train_labels),
        ("t10k-images-idx3-ubyte", test_images),
        ("t10k-labels-idx1-ubyte", test_labels),
    )


CATALOGUE: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            name="mnist",
            torchvision="MNIST",
            host="https://ossci-datasets.s3.amazonaws.com",
            files=_idx(
                "6bbc9ace898e44ae57da46a324031adb",
                "a25bea736e30d166cdddb491f175f624",
                "2646ac647ad5339dbf082846283269ea",
                "27ae3e4e09519cfbb04c329615203637",
            ),
            read=read_idx_set,
            folders=("mnist", "MNIST/raw"),
            image_shape=(1, 28, 28),
            train=60_000,
            test=10_000,
            mean=(0.1307,),
            std=(0.3081,),
            has_sample=True,
        ),
        Spec(
            name="fashion",
            torchvision="FashionMNIST",
            host="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            files=_idx(
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "9018921c3c673c538a1fc5bad174d6f9",
                "8181f5470baa50b63fa0f6fddb340f0a",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
            read=read_idx_set,
            folders=("fashion", "fashion-mnist", "FashionMNIST/raw"),
            image_shape=(1, 28, 28),
            train=60_000,
            test=10_000,
            mean=(0.28582752,),
            std=(0.35303804,),
            system=Path("/usr/share/datasets/fashion-mnist"),
            has_sample=True,
        ),
        Spec(
            name="cifar10",
            torchvision="CIFAR10",
            host="https://www.cs.toronto.edu",
            files=(("cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),),
            read=read_cifar_archive,
            folders=("cifar10", "."),
            image_shape=(3, 32, 32),
            train=50_000,
            test=10_000,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
    )
}


def files_in(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """The files of `spec` in `folder` itself, plain or gzipped, in the catalogue's order; None unless all are there."""
    found = [
        next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        for name, _ in spec.files
    ]
    return tuple(path for path in found if path) if all(found) else None


def files_under(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """The files of `spec` in `folder` or where data folders are used to have them (torchvision's layout, for one)."""
    places = (folder, *(folder / sub for sub in spec.folders))
    return next((files for place in places if (files := files_in(spec, place))), None)


def files_here(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """The files of `spec` in the user's data `folder`, else those that the operating system's package installed."""
    places = [folder / sub for sub in spec.folders] + ([spec.system] if spec.system else [])
    return next((files for place in places if (files := files_in(spec, place))), None)


def read_files(spec: Spec, paths: Sequence[Path]) -> Images:
    """Read and check files in the catalogue's order. Raises BadData."""
    return spec.read([(path, digest) for path, (_, digest) in zip(paths, spec.files, strict=True)])


def read_sample(spec: Spec) -> Images:
    """The sample that ships with ffcli. Raises BadData where there is none."""
    if not spec.has_sample:
        samples = ", ".join(other.name for other in CATALOGUE.values() if other.has_sample)
        raise BadData(f"{spec.name} has no sample (there are samples of {samples}): {how_to_get(spec)}")
    return read_npz(sample_file(spec))


def sample_file(spec: Spec) -> Path:
    return Path(__file__).with_name("sample") / f"{spec.name}.npz"


def how_to_get(spec: Spec) -> str:
    return f"`ff data fetch {spec.name}` downloads the full set, `ff data import {spec.name} PATH` takes your own files"


def download(spec: Spec, folder: Path, notify: Notify) -> Images:
    """Download with torchvision into `folder`, check torchvision's digests and ours, and only then put it in place.

    Raises DownloadFailed (within seconds and without importing torch where the server cannot be reached), StorageFull,
    and BadData where the folder cannot be written.
    """
    if not _reachable(spec.host):
        raise DownloadFailed(f"cannot reach {urlsplit(spec.host).hostname}")
    notify(f"downloading {spec.name} from {urlsplit(spec.host).hostname}")
    target = folder / spec.folders[0]
    with writing(folder):
        target.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.TemporaryDirectory(dir=target, prefix=".download-")
    with unfinished as place:
        _download_files(spec, Path(place))
        paths = files_in(spec, Path(place))
        if paths is None:
            raise DownloadFailed(f"torchvision's {spec.torchvision} has other files than {spec.name} consists of")
        try:
            images = read_files(spec, paths)
        except BadData as error:
            raise DownloadFailed(f"what the server sent is wrong: {error}") from error
        with writing(folder):
            for path in paths:
                os.replace(path, target / path.name)
    return images


def _download_files(spec: Spec, place: Path) -> None:
    with _progress_on_stderr(), _network_timeout():
        try:
            dataset = getattr(importlib.import_module("torchvision.datasets"), spec.torchvision)
            download_url = importlib.import_module("torchvision.datasets.utils").download_url
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            raise DownloadFailed(
                'torchvision, which downloads, is missing or does not fit this torch: pip install ".[download]"'
            ) from error
        for name, urls, md5 in _remote_files(dataset):
            _first_that_works(name, urls, partial(download_url, root=place, filename=name, md5=md5))


def _remote_files(dataset: Any) -> list[tuple[str, list[str], str]]:
    """(file name, its urls, MD5 of the file as it is sent) of a torchvision data set.

    Not the class itself is used: its constructor would unpickle what it downloaded.
    """
    if hasattr(dataset, "resources"):
        return [(name, [mirror + name for mirror in dataset.mirrors], md5) for name, md5 in dataset.resources]
    return [(dataset.filename, [dataset.url], dataset.tgz_md5)]


def _first_that_works(name: str, urls: Sequence[str], get: Callable[[str], None]) -> None:
    reasons = []
    for url in urls:
        try:
            return get(url)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise disk_full(f"the download of {name}") from error
            reasons.append(f"{url}: {error}")
    raise DownloadFailed(f"the download failed ({'; '.join(reasons)})")


def _reachable(url: str) -> bool:
    """Whether the server of `url`, or the proxy on the way to it, takes a connection within CONNECT_SECONDS."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=CONNECT_SECONDS):
            connected.set()

    # A thread, since no timeout bounds the look-up of a name.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return connected.is_set()


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """torchvision's messages and progress bar: to stderr on a terminal, else nowhere. stdout is for results."""
    with open(os.devnull, "w") as nowhere:
        stream = sys.stderr if sys.stderr.isatty() else nowhere
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield


@contextlib.contextmanager
def _network_timeout() -> Iterator[None]:
    """torchvision sets none: a server that falls silent would hang the program."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
