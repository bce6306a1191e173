"""Where a named dataset can come from: files on this machine, a download, or the sample that ships with ffcli."""

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
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ffcli.data.catalogue import CATALOGUE, Spec
from ffcli.data.formats import READERS, Images
from ffcli.data.npz import read_npz
from ffcli.data.prepared import writing
from ffcli.errors import BadData, DownloadFailed
from ffcli.files import disk_full, is_disk_full, remove_stale

SHIPPED = "shipped with ffcli"
CONNECT_SECONDS = 3.0
"""Time limit for a connection to a download server."""
STALL_SECONDS = 30.0
"""Time without data after which a download fails."""

UNFINISHED = ".download-"
"""How the name of the folder of an unfinished download begins."""

Notify = Callable[[str], None]
"""Called with a message of one line for the user."""


def files_in(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """Return the files of `spec` in `folder`, plain or gzipped, in the order of `spec.files`; None unless complete."""
    found = [
        next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
        for name, _ in spec.files
    ]
    return tuple(path for path in found if path) if all(found) else None


def files_under(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """Return the files of `spec` in `folder` or one of `spec.folders` below it (such as torchvision's layout)."""
    places = (folder, *(folder / sub for sub in spec.folders))
    return next((files for place in places if (files := files_in(spec, place))), None)


def files_here(spec: Spec, folder: Path) -> tuple[Path, ...] | None:
    """Return the files of `spec` in the data folder, else those that the operating system's package installed."""
    places = [folder / sub for sub in spec.folders] + ([spec.system] if spec.system else [])
    return next((files for place in places if (files := files_in(spec, place))), None)


def read_files(spec: Spec, paths: Sequence[Path]) -> Images:
    """Read and check files, given in the order of `spec.files`. Raises BadData."""
    files = [(path, digest) for path, (_, digest) in zip(paths, spec.files, strict=True)]
    return READERS[spec.format](files, spec.largest_file)


def read_sample(spec: Spec) -> Images:
    """Return the sample that ships with ffcli. Raises BadData if there is none."""
    if not spec.has_sample:
        samples = ", ".join(other.name for other in CATALOGUE.values() if other.has_sample)
        raise BadData(f"{spec.name} has no sample (only {samples} have one): {how_to_get(spec)}")
    return read_npz(sample_file(spec))


def sample_file(spec: Spec) -> Path:
    """Return the path of the shipped sample."""
    return Path(__file__).with_name("sample") / f"{spec.name}.npz"


def how_to_get(spec: Spec) -> str:
    """Return the commands that provide the full dataset, for messages."""
    return f"`ff data fetch {spec.name}` downloads the full dataset, `ff data import {spec.name} PATH` reads your files"


def download(spec: Spec, folder: Path, notify: Notify) -> Images:
    """Download the files with torchvision and move them into `folder` once all digests are verified.

    If the server cannot be reached, this fails within seconds and without importing torch.

    Raises:
        DownloadFailed: if the server cannot be reached or sends wrong files, or torchvision is missing.
        StorageFull: if the disk is full.
        BadData: if the folder cannot be written.
    """
    if not _reachable(spec.host):
        raise DownloadFailed(f"cannot reach {urlsplit(spec.host).hostname}")
    notify(f"downloading {spec.name} from {urlsplit(spec.host).hostname}")
    target = folder / spec.folders[0]
    with writing(folder):
        target.mkdir(parents=True, exist_ok=True)
        remove_stale(target, f"{UNFINISHED}*")
        unfinished = tempfile.TemporaryDirectory(dir=target, prefix=UNFINISHED)
    with unfinished as place:
        _download_files(spec, Path(place))
        paths = files_in(spec, Path(place))
        if paths is None:
            raise DownloadFailed(f"torchvision's {spec.torchvision} offers other files than those of {spec.name}")
        try:
            images = read_files(spec, paths)
        except BadData as error:
            raise DownloadFailed(f"the server sent wrong data: {error}") from error
        with writing(folder):
            for path in paths:
                os.replace(path, target / path.name)
    return images


def _download_files(spec: Spec, place: Path) -> None:
    with _progress_on_stderr(), _network_timeout():
        try:
            dataset = getattr(import_torchvision(), spec.torchvision)
            download_url = importlib.import_module("torchvision.datasets.utils").download_url
            remote_files = _remote_files(dataset)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            raise DownloadFailed(
                'downloads need torchvision, which is missing or does not match this torch: pip install ".[download]"'
            ) from error
        for name, urls, md5 in remote_files:
            _download_from_any(name, urls, partial(download_url, root=place, filename=name, md5=md5))


def import_torchvision() -> Any:
    """Return `torchvision.datasets`. Raises many kinds of errors if torchvision does not fit the installed torch."""
    return importlib.import_module("torchvision.datasets")


def _remote_files(dataset: Any) -> list[tuple[str, list[str], str]]:
    """Return (file name, URLs, MD5 of the file as it is sent) for each file of a torchvision dataset.

    The class is never instantiated, because its constructor would unpickle the downloaded files.
    """
    if hasattr(dataset, "split_list"):  # SVHN
        return [(name, [url], md5) for url, name, md5 in (dataset.split_list[split] for split in ("train", "test"))]
    if hasattr(dataset, "md5"):  # EMNIST, which inherits the resources of MNIST
        return [(dataset.url.rpartition("/")[2], [dataset.url], dataset.md5)]
    if hasattr(dataset, "resources"):
        return [(name, [mirror + name for mirror in dataset.mirrors], md5) for name, md5 in dataset.resources]
    return [(dataset.filename, [dataset.url], dataset.tgz_md5)]


def _download_from_any(name: str, urls: Sequence[str], get: Callable[[str], None]) -> None:
    """Try the URLs in order until one works."""
    reasons = []
    for url in urls:
        try:
            get(url)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise disk_full(f"the download of {name}") from error
            reasons.append(f"{url}: {error}")
        else:
            return
    raise DownloadFailed(f"the download failed ({'; '.join(reasons)})")


def _reachable(url: str) -> bool:
    """Return whether the server of `url`, or the proxy for it, accepts a connection within CONNECT_SECONDS."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=CONNECT_SECONDS):
            connected.set()

    # A name lookup has no timeout, so it runs in a thread.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return connected.is_set()


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """Send torchvision's messages and progress bar to stderr on a terminal, else discard them."""
    with open(os.devnull, "w") as nowhere:
        stream = sys.stderr if sys.stderr.isatty() else nowhere
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield


@contextlib.contextmanager
def _network_timeout() -> Iterator[None]:
    """Set a timeout for sockets: torchvision sets none, so a silent server would block forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
