"""Datasets by name or path: `locate` finds one and prepares a copy if there is none, `load` reads the copy."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ffcli.choices import DataChoice
from ffcli.config import DataRef, DataSource
from ffcli.data import prepared
from ffcli.data.catalogue import CATALOGUE, SAMPLE_TEST, SAMPLE_TRAIN, Spec
from ffcli.data.formats import Images, channel_statistics
from ffcli.data.npz import read_npz
from ffcli.data.pictures import read_picture_folder, stamp_of_folder
from ffcli.data.prepared import Arrays, Copy
from ffcli.data.sources import (
    SHIPPED,
    Notify,
    download,
    files_here,
    files_under,
    how_to_get,
    read_files,
    read_sample,
    sample_file,
)
from ffcli.errors import BadData, DownloadFailed, StorageFull
from ffcli.text import named, unknown

__all__ = [
    "Arrays",
    "DataChoice",
    "Entry",
    "data_folder",
    "fetch",
    "image_shape",
    "import_files",
    "inventory",
    "load",
    "locate",
    "receive",
]  # fmt: skip

RETRY_SECONDS = 24 * 3600
"""Time after a failed download in which `auto` does not try again."""


def data_folder(given: Path | None, *, create: bool) -> Path:
    """Return the data folder, which need not exist.

    Args:
        given: the folder that the user named; None for the default, in the user's data folder.
        create: whether the command prepares data there. One that only reads refuses a named folder that does not exist,
            because a mistyped path must not look like an empty folder.

    Raises:
        BadData: if the named folder does not exist and is not to be created, or cannot be created in its parent.
    """
    if given is None:
        return platformdirs.user_data_path("ffcli", appauthor=False) / "data"
    folder = given.expanduser()
    if folder.exists() and not folder.is_dir():
        raise BadData(f"--data-dir {given} is not a folder: give the path of one")
    if not folder.is_dir() and not create:
        raise BadData(f"--data-dir {given}: there is no such folder: check the path; `ff train` creates one")
    if not folder.absolute().parent.is_dir():
        raise BadData(f"--data-dir {given}: {folder.absolute().parent} is not a folder: create it, or check the path")
    return folder


def locate(dataset: str, *, wanted: DataChoice = "auto", folder: Path, notify: Notify) -> DataRef:
    """Find a dataset, prepare a copy if there is none, and return its description.

    The full dataset is searched as a prepared copy, as files in `folder`, as files of the operating system's package,
    and finally downloaded.

    Args:
        dataset: a name of the catalogue, or the path of an `.npz` file or of a folder of pictures.
        wanted: `full`; `sample`; or `auto`, which falls back to the sample with a notice.
        folder: the data folder.
        notify: called with messages for the user.

    Raises:
        BadData: if the name is unknown or the files are wrong.
        DownloadFailed: if a download was needed and failed.
        StorageFull: if the disk is full.
    """
    if dataset in CATALOGUE:
        return _locate_named(CATALOGUE[dataset], wanted, folder, notify)
    if dataset.endswith(".npz") or os.sep in dataset or os.path.isdir(dataset):
        if wanted == "sample":
            raise BadData(f"{dataset} is a path, which has no sample: give --data full")
        return _locate_file(_absolute(dataset), folder, notify)
    raise BadData(f"{unknown('dataset', dataset, CATALOGUE)}, or give the path of an .npz file or a folder of pictures")


def load(ref: DataRef, folder: Path, notify: Notify = lambda line: None) -> Arrays:
    """Return the verified content of `ref`; a copy that is missing or damaged is prepared again.

    Raises:
        BadData: if the source has changed.
        DownloadFailed, StorageFull: as in `locate`.
    """
    arrays = prepared.read(folder, ref)
    if arrays is None:
        notify(f"the prepared copy of {ref.label} is missing or damaged: preparing it again")
        made = _prepare_again(ref, folder, notify)
        arrays = prepared.read(folder, made)
        if arrays is None or made.fingerprint != ref.fingerprint:
            raise BadData(
                f"{ref.path or ref.label} has changed: its fingerprint is {made.fingerprint[:12]},"
                f" expected {ref.fingerprint[:12]}"
            )
    return arrays


def receive(ref: DataRef, arrays: Arrays, folder: Path) -> Arrays:
    """Verify a dataset that another process sent, and keep a copy in `folder` if there is space.

    Raises:
        BadData: if it is not the content of `ref`.
    """
    if (found := prepared.fingerprint(arrays)) != ref.fingerprint:
        raise BadData(f"the received {ref.label} has the fingerprint {found[:12]}, expected {ref.fingerprint[:12]}")
    with contextlib.suppress(BadData, StorageFull):
        prepared.write(folder, ref.name, ref.source, arrays, origin="received from a sweep", path=ref.path)
    return arrays


def image_shape(ref: DataRef, folder: Path) -> tuple[int, int, int]:
    """Return (C, H, W) of the images; only the user's own files have to be read for it. Raises as `load` does."""
    return load(ref, folder).image_shape if ref.source == "file" else _spec(ref.name).image_shape


def fetch(name: str, folder: Path, notify: Notify) -> DataRef:
    """Return the full dataset, downloaded if necessary, even if a recent download failed. Raises as `locate` does."""
    spec = _spec(name)
    with prepared.writing(folder):
        _marker(spec, folder).unlink(missing_ok=True)
    return _locate_named(spec, "full", folder, notify)


def import_files(name: str, path: Path, folder: Path, notify: Notify) -> DataRef:
    """Prepare the full dataset from the user's files: a folder of them, or the one archive. Raises BadData."""
    spec, path = _spec(name), _absolute(path)
    is_archive = path.is_file() and len(spec.files) == 1
    files = (path,) if is_archive else files_under(spec, path)
    if files is None:
        problem = f"is not a complete {name}" if path.exists() else "does not exist"
        expected = ", ".join(file for file, _ in spec.files)
        raise BadData(f"{path} {problem}: expected a folder with {expected}")
    return _prepare_files(spec, files, folder, notify)


@dataclass(frozen=True, slots=True)
class Entry:
    """A dataset that is available without a download."""

    name: str
    source: DataSource
    origin: str
    """Where it came from: a folder, a file, a download, or `shipped with ffcli`."""
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    train: int
    test: int
    fingerprint: str | None
    """None until it is prepared."""
    bytes: int
    """Size of the prepared copy, else of the source files."""
    prepared: bool


def inventory(folder: Path) -> list[Entry]:
    """Return all available datasets: named ones, prepared or not, and the user's prepared data."""
    entries = [_prepared_entry(copy) for copy in prepared.copies(folder) if isinstance(copy, Copy)]
    known = {(entry.name, entry.source) for entry in entries}
    for spec in CATALOGUE.values():
        files = files_here(spec, folder)
        if files and (spec.name, "full") not in known:
            entries.append(_entry(spec, "full", files, str(files[0].parent), spec.train, spec.test))
        if spec.has_sample and (spec.name, "sample") not in known:
            entries.append(_entry(spec, "sample", (sample_file(spec),), SHIPPED, SAMPLE_TRAIN, SAMPLE_TEST))
    return sorted(entries, key=lambda entry: (entry.source == "file", entry.name, entry.source))


def _prepared_entry(copy: Copy) -> Entry:
    ref, size = copy.ref, copy.file.stat().st_size
    return Entry(ref.name, ref.source, copy.origin, copy.image_shape, ref.train, ref.test, ref.fingerprint, size, True)


def _entry(spec: Spec, source: DataSource, files: Sequence[Path], origin: str, train: int, test: int) -> Entry:
    size = sum(file.stat().st_size for file in files)
    return Entry(spec.name, source, origin, spec.image_shape, train, test, None, size, False)


def _locate_named(spec: Spec, wanted: DataChoice, folder: Path, notify: Notify) -> DataRef:
    source: DataSource = "sample" if wanted == "sample" else "full"
    if here := _copy_here(spec.name, source, folder, notify):
        return here
    if wanted == "sample":
        return _make_sample(spec, folder, notify)
    try:
        return _make_full(spec, folder, notify, remember=wanted == "auto")
    except DownloadFailed as error:
        if wanted == "full" or not spec.has_sample:
            raise DownloadFailed(
                f"no full {spec.name}: {error}; try again with a connection, or `ff data import {spec.name} PATH` reads"
                " your files"
            ) from error
        notify(
            f"NOTE: this is the sample of {spec.name} that ships with ffcli ({SAMPLE_TRAIN:,} training and"
            f" {SAMPLE_TEST:,} test images), not the full dataset: {error}; {how_to_get(spec)}"
        )
        return _locate_named(spec, "sample", folder, notify)


def _locate_file(path: Path, folder: Path, notify: Notify) -> DataRef:
    stamp = _stamp(path)
    for copy in prepared.copies(folder, _own_name(path), "file"):
        if isinstance(copy, Copy) and (copy.origin, copy.stamp) == (str(path), stamp):
            return copy.ref
    return _make_file(path, folder, notify)


def _copy_here(name: str, source: DataSource, folder: Path, notify: Notify) -> DataRef | None:
    for copy in prepared.copies(folder, name, source):
        if isinstance(copy, Copy):
            return copy.ref
        notify(f"{copy} is damaged: preparing it again")
    return None


def _prepare_again(ref: DataRef, folder: Path, notify: Notify) -> DataRef:
    if ref.path is not None:
        return _make_file(Path(ref.path), folder, notify)
    if ref.source == "sample":
        return _make_sample(_spec(ref.name), folder, notify)
    return _make_full(_spec(ref.name), folder, notify)


def _make_full(spec: Spec, folder: Path, notify: Notify, *, remember: bool = False) -> DataRef:
    """Prepare from files on this machine, else download; with `remember`, not if a recent download failed."""
    if files := files_here(spec, folder):
        return _prepare_files(spec, files, folder, notify)
    marker = _marker(spec, folder)
    if remember and (reason := _failed_lately(marker)):
        raise DownloadFailed(f"{reason} (tried within the last 24 hours)")
    try:
        images = download(spec, folder, notify)
    except DownloadFailed as error:
        if remember:
            with prepared.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                marker.write_text(str(error), encoding="utf-8")
        raise
    marker.unlink(missing_ok=True)
    return _prepare(spec, "full", images, folder, origin=f"download from {spec.host}")


def _make_sample(spec: Spec, folder: Path, notify: Notify) -> DataRef:
    images = read_sample(spec)
    notify(f"preparing the sample of {spec.name}")
    return _prepare(spec, "sample", images, folder, origin=SHIPPED)


def _make_file(path: Path, folder: Path, notify: Notify) -> DataRef:
    stamp = _stamp(path)
    notify(f"preparing {path}")
    images = read_picture_folder(path) if path.is_dir() else read_npz(path)
    if missing := set(range(int(images.train_labels.max()))) - set(images.train_labels.tolist()):
        notify(f"NOTE: {path} has no training images of {named('label', missing)}")
    arrays = _arrays(images, _statistics(str(path), images))
    return prepared.write(folder, _own_name(path), "file", arrays, origin=str(path), path=str(path), stamp=stamp)


def _own_name(path: Path) -> str:
    """Return the name of the user's data: that of the file without suffix, unless it is the name of a known dataset."""
    if path.is_dir():
        return f"{path.name}/" if path.name.lower() in CATALOGUE else path.name
    return path.name if path.stem.lower() in CATALOGUE else path.stem


def _statistics(where: str, images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        return channel_statistics(images.train_images)
    except ValueError as error:
        raise BadData(f"{where}: {error}") from error


def _prepare_files(spec: Spec, files: Sequence[Path], folder: Path, notify: Notify) -> DataRef:
    notify(f"preparing {spec.name} from {files[0].parent}")
    return _prepare(spec, "full", read_files(spec, files), folder, origin=str(files[0].parent))


def _prepare(spec: Spec, source: DataSource, images: Images, folder: Path, *, origin: str) -> DataRef:
    arrays = _arrays(images, spec.normalisation or _statistics(spec.name, images))
    return prepared.write(folder, spec.name, source, arrays, origin=origin)


def _arrays(images: Images, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> Arrays:
    channels, height, width = images.train_images.shape[1:]
    return Arrays(
        images.train_images.reshape(len(images.train_images), -1),
        images.train_labels,
        images.test_images.reshape(len(images.test_images), -1),
        images.test_labels,
        *normalisation,
        (channels, height, width),
    )


def _spec(name: str) -> Spec:
    if name not in CATALOGUE:
        raise BadData(unknown("dataset", name, CATALOGUE))
    return CATALOGUE[name]


def _absolute(path: str | Path) -> Path:
    """Return an absolute path. Raises BadData unless it is UTF-8 text, as the database and JSON need."""
    try:
        os.path.abspath(path).encode()
    except UnicodeError as error:
        raise BadData(f"the path {path} is not UTF-8 text: rename the file or folder") from error
    if "\0" in str(path):
        raise BadData(f"the path {path} has a null character")
    return Path(os.path.abspath(os.path.expanduser(path)))


def _stamp(path: Path) -> str:
    """Return what changes whenever the content of a file or folder does; empty if there is none.

    Size and modification time can be equal for other content: tools such as `cp -p` and `rsync -t` set the time. The
    inode and the time of the last change of the file's status, which no program can set, differ then. Moving a file to
    another file system changes the stamp too; it is only prepared again.
    """
    try:
        if path.is_dir():
            return stamp_of_folder(path)
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_ino}:{status.st_ctime_ns}:{status.st_size}:{status.st_mtime_ns}"


def _marker(spec: Spec, folder: Path) -> Path:
    return folder / f"{spec.name}.download-failed"


def _failed_lately(marker: Path) -> str | None:
    """Return why a download less than RETRY_SECONDS ago failed, or None."""
    with contextlib.suppress(OSError):
        if time.time() - marker.stat().st_mtime < RETRY_SECONDS:
            return marker.read_text(encoding="utf-8")
    return None
