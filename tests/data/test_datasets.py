"""Locating, preparing and loading datasets: the order of the sources, the copy on disk, and what can go wrong."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from published_formats import published

from ffcli.config import DataRef
from ffcli.data import datasets
from ffcli.data.catalogue import CATALOGUE
from ffcli.data.datasets import fetch, import_files, inventory, load, locate
from ffcli.data.sources import read_sample, sample_file
from ffcli.errors import BadData, DownloadFailed, StorageFull

IDX = [name for name, _ in CATALOGUE["mnist"].files]


def write_idx(folder: Path, count: int = 300) -> tuple[str, ...]:
    """Write the first `count` images of the MNIST sample as four idx.gz files; return their MD5 digests."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = []
    for name, part in zip(IDX, read_sample(CATALOGUE["mnist"]), strict=True):
        array = np.squeeze(np.asarray(part)[:count]).astype(np.uint8)
        raw = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw, 1))
        digests.append(hashlib.md5(raw).hexdigest())
    return tuple(digests)


@pytest.fixture(autouse=True)
def _small_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the network and installed datasets, and replace the full MNIST with a small one."""
    monkeypatch.setenv("no_proxy", "*")
    digests = write_idx(tmp_path / "complete")
    for name, spec in CATALOGUE.items():
        files = tuple(zip(IDX, digests, strict=True)) if name == "mnist" else spec.files
        system = tmp_path / "system" / name
        small = dataclasses.replace(spec, host="http://127.0.0.1:9", files=files, system=system)
        monkeypatch.setitem(CATALOGUE, name, small)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def lines() -> list[str]:
    """Collect the notices to the user."""
    return []


def test_sample_is_used_offline_with_a_notice(folder: Path, lines: list[str]) -> None:
    ref = locate("mnist", folder=folder, notify=lines.append)
    assert (ref.name, ref.source, ref.train, ref.test) == ("mnist", "sample", 10_000, 2_000)
    assert (ref.features, ref.classes, ref.largest_class, ref.label) == (784, 10, 10.0, "mnist (sample)")
    assert "cannot reach 127.0.0.1" in lines[0]
    assert "ff data fetch mnist" in lines[0]
    assert "ff data import mnist PATH" in lines[0]
    arrays = load(ref, folder)
    images = read_sample(CATALOGUE["mnist"])
    assert np.array_equal(arrays.train_images, images.train_images.reshape(10_000, 784))
    assert np.array_equal(arrays.test_labels, images.test_labels)
    assert (arrays.mean, arrays.std, arrays.channels, arrays.image_shape) == ((0.1307,), (0.3081,), 1, (1, 28, 28))
    assert [str(arrays.train_images.dtype), str(arrays.train_labels.dtype)] == ["uint8", "int64"]


def test_sources_are_tried_in_order(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    write_idx(tmp_path / "system/mnist")
    assert locate("mnist", folder=folder, notify=lines.append).source == "full"
    assert lines == [f"preparing mnist from {tmp_path / 'system/mnist'}"]
    other = tmp_path / "other"
    write_idx(other / "MNIST/raw")  # as torchvision leaves them
    locate("mnist", folder=other, notify=lines.append)
    assert lines[1:] == [f"preparing mnist from {other / 'MNIST/raw'}"]


def test_prepared_copy_needs_no_source(folder: Path, lines: list[str], tmp_path: Path) -> None:
    ref = import_files("mnist", tmp_path / "complete", folder, lines.append)
    assert (ref.source, ref.train, ref.test) == ("full", 300, 300)
    shutil.rmtree(tmp_path / "complete")
    assert locate("mnist", folder=folder, notify=lines.append) == ref
    assert len(lines) == 1
    assert len(load(ref, folder).train_images) == 300


def test_full_and_sample_never_share_a_fingerprint(folder: Path, lines: list[str], tmp_path: Path) -> None:
    full = import_files("mnist", tmp_path / "complete", folder, lines.append)
    sample = locate("mnist", wanted="sample", folder=folder, notify=lines.append)
    assert full.fingerprint != sample.fingerprint
    assert load(full, folder).train_images.shape != load(sample, folder).train_images.shape


def test_sample_never_replaces_the_full_dataset_on_request(folder: Path, lines: list[str]) -> None:
    with pytest.raises(DownloadFailed, match="no full mnist: cannot reach"):
        locate("mnist", wanted="full", folder=folder, notify=lines.append)
    with pytest.raises(DownloadFailed, match=r"no full cifar10: .*ff data import cifar10 PATH"):
        locate("cifar10", folder=folder, notify=lines.append)
    with pytest.raises(BadData, match="cifar10 has no sample"):
        locate("cifar10", wanted="sample", folder=folder, notify=lines.append)


def test_only_auto_skips_a_download_that_failed_within_a_day(folder: Path, lines: list[str]) -> None:
    def located() -> str:
        lines.clear()
        locate("mnist", folder=folder, notify=lines.append)
        return lines[0]

    assert "tried within" not in located()
    assert "tried within the last 24 hours" in located()
    [marker] = folder.glob("*download-failed")
    yesterday = time.time() - 25 * 3600
    os.utime(marker, (yesterday, yesterday))
    assert "tried within" not in located()
    assert "tried within" in located()
    with pytest.raises(DownloadFailed) as failure:
        fetch("mnist", folder, lines.append)
    assert "tried within" not in str(failure.value)
    assert not marker.exists()


def test_sample_is_used_offline_without_torch(folder: Path) -> None:
    program = """
import dataclasses, sys
from pathlib import Path
from ffcli.data import datasets
from ffcli.data.catalogue import CATALOGUE
spec = CATALOGUE["fashion"]
CATALOGUE["fashion"] = dataclasses.replace(spec, host="http://127.0.0.1:9", system=None)
ref = datasets.locate("fashion", folder=Path(sys.argv[1]), notify=lambda line: None)
datasets.load(ref, Path(sys.argv[1]))
assert ref.source == "sample"
assert not {"torch", "torchvision"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)


def test_truncated_source_is_refused_and_leaves_no_copy(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    write_idx(folder / "mnist")
    damaged = folder / "mnist" / f"{IDX[0]}.gz"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with pytest.raises(BadData, match="truncated") as refusal:
        locate("mnist", folder=folder, notify=lines.append)
    assert str(damaged) in str(refusal.value)
    assert not (folder / "prepared").exists()


def test_importing_wrong_files_explains_what_is_expected(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(BadData, match="does not exist"):
        import_files("mnist", tmp_path / "nowhere", folder, lines.append)
    with pytest.raises(BadData, match=f"expected a folder with {', '.join(IDX)}"):
        import_files("mnist", tmp_path, folder, lines.append)
    with pytest.raises(BadData, match="is not the published file"):
        import_files("fashion", tmp_path / "complete", folder, lines.append)
    with pytest.raises(BadData, match="did you mean 'mnist'"):
        import_files("mnits", tmp_path / "complete", folder, lines.append)
    wrong = tmp_path / "cifar-10-python.tar.gz"
    wrong.write_bytes(b"something else")
    with pytest.raises(BadData, match="SHA-256"):
        import_files("cifar10", wrong, folder, lines.append)


def test_an_unknown_name_suggests_the_nearest(folder: Path, lines: list[str]) -> None:
    with pytest.raises(BadData, match=r"did you mean 'fashion'\?.*or give the path of an \.npz"):
        locate("fashon", folder=folder, notify=lines.append)


def write_npz(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    np.savez(
        path,
        train_images=rng.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8),
        train_labels=np.arange(20) % 4,
        test_images=rng.integers(0, 256, (10, 4, 4, 3), dtype=np.uint8),
        test_labels=np.array([0, 0, 0, 0, 0, 0, 1, 2, 3, 3]),
    )
    return path


def test_npz_is_identified_by_its_content(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    path = write_npz(tmp_path / "my-set.npz")
    ref = locate(str(path), folder=folder, notify=lines.append)
    assert (ref.name, ref.source, ref.path) == ("my-set", "file", str(path))
    assert (ref.features, ref.classes, ref.train, ref.test, ref.largest_class) == (48, 4, 20, 10, 60.0)
    arrays = load(ref, folder)
    assert np.array_equal(arrays.train_images[3].reshape(3, 4, 4)[2], np.load(path)["train_images"][3, :, :, 2])
    assert locate(str(path), folder=folder, notify=lines.append) == ref
    assert lines == [f"preparing {path}"]

    copy = tmp_path / "elsewhere.npz"
    copy.write_bytes(path.read_bytes())
    assert locate(str(copy), folder=folder, notify=lines.append).fingerprint == ref.fingerprint
    write_npz(path, seed=1)
    assert locate(str(path), folder=folder, notify=lines.append).fingerprint != ref.fingerprint
    assert np.array_equal(
        load(ref, folder).train_images, arrays.train_images
    )  # the prepared copy of the old content is kept


@pytest.mark.parametrize(("file", "name"), [("mnist.npz", "mnist.npz"), ("MNIST.npz", "MNIST.npz"), ("a.npz", "a")])
def test_a_file_is_never_called_like_a_known_dataset(
    folder: Path, tmp_path: Path, lines: list[str], file: str, name: str
) -> None:
    path = write_npz(tmp_path / file)
    ref = locate(str(path), folder=folder, notify=lines.append)
    assert (ref.name, ref.label) == (name, name)
    assert locate(str(path), folder=folder, notify=lines.append) == ref
    assert lines == [f"preparing {path}"]


def test_labels_without_training_images_are_reported(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    pixels = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
    labels = np.array([0, 2, 6, 0, 2, 6])
    path = tmp_path / "gaps.npz"
    np.savez(path, train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    assert locate(str(path), folder=folder, notify=lines.append).classes == 7
    assert lines[1:] == [f"NOTE: {path} has no training images of labels 1,3-5"]


def write_pictures(root: Path, *, colour: bool = True, size: tuple[int, int] = (5, 4)) -> np.ndarray[Any, Any]:
    """Write 3 training and 1 test pictures of two classes in the layout of ImageFolder; return (8, H, W, C)."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, *size, 3 if colour else 1), dtype=np.uint8)
    places = [
        f"{split}/{name}/{n}.png" for split, count in (("train", 3), ("test", 1)) for name in "ab" for n in range(count)
    ]
    for place, picture in zip(places, pixels, strict=True):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture if colour else picture[..., 0]).save(root / place)
    return pixels


@pytest.mark.parametrize("colour", [True, False])
def test_folder_of_pictures_is_read(folder: Path, tmp_path: Path, lines: list[str], colour: bool) -> None:
    root = tmp_path / "animals"
    pixels = write_pictures(root, colour=colour)
    (root / "train/a/notes.txt").write_text("not a picture")
    ref = locate(str(root), folder=folder, notify=lines.append)
    assert (ref.name, ref.source, ref.path, ref.classes) == ("animals", "file", str(root), 2)
    arrays = load(ref, folder)
    assert arrays.image_shape == (3 if colour else 1, 5, 4)
    assert np.array_equal(arrays.train_images, pixels[:6].transpose(0, 3, 1, 2).reshape(6, -1))
    assert np.array_equal(arrays.test_images, pixels[6:].transpose(0, 3, 1, 2).reshape(2, -1))
    assert (arrays.train_labels.tolist(), arrays.test_labels.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1])

    assert locate(str(root), folder=folder, notify=lines.append) == ref
    assert lines == [f"preparing {root}"]
    Image.fromarray(pixels[0, :, :, 0]).save(root / "train/b/new.png")
    assert locate(str(root), folder=folder, notify=lines.append).train == 7


def test_folder_with_the_name_of_a_known_dataset(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    write_pictures(tmp_path / "mnist")
    assert locate(str(tmp_path / "mnist"), folder=folder, notify=lines.append).label == "mnist/"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: shutil.rmtree(root / "test"), "has no folder test: it contains train; expected train/CLASS"),
        (lambda root: shutil.rmtree(root / "train/b"), "has pictures of only one class, expected at least 2"),
        (lambda root: [file.unlink() for file in root.glob("test/*/*")], "test has no pictures in 2 folders"),
        (lambda root: shutil.move(root / "test/a", root / "test/c"), "test/c has pictures, but .*train/c has none"),
        (lambda root: (root / "train/b/1.png").write_bytes(b"text"), "train/b/1.png is not a png or jpg file"),
        (
            lambda root: Image.new("RGB", (9, 5)).save(root / "test/b/0.png"),
            "test/b/0.png has 5 x 9 pixels .* has 5 x 4: expected one size",
        ),
    ],
    ids=["no test", "one class", "no pictures", "unseen class", "no picture", "sizes"],
)
def test_other_folders_are_refused_with_the_reason(
    folder: Path, tmp_path: Path, lines: list[str], break_it: Any, message: str
) -> None:
    root = tmp_path / "pictures"
    write_pictures(root)
    break_it(root)
    with pytest.raises(BadData, match=message):
        locate(str(root), folder=folder, notify=lines.append)


@pytest.mark.parametrize("name", ["kmnist", "emnist-letters", "svhn"])
def test_constants_that_are_not_known_are_computed(
    folder: Path, tmp_path: Path, lines: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, (train_images, *_) = published(tmp_path / "files", name)
    monkeypatch.setitem(CATALOGUE, name, dataclasses.replace(spec, host="http://127.0.0.1:9"))
    ref = import_files(name, tmp_path / "files", folder, lines.append)
    arrays = load(ref, folder)
    assert (ref.name, ref.source, arrays.image_shape) == (name, "full", spec.image_shape)
    assert np.allclose(arrays.mean, (train_images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(arrays.std, (train_images / 255).std(axis=(0, 2, 3)), rtol=1e-12)
    assert locate(name, folder=folder, notify=lines.append) == ref


def test_changed_npz_is_refused(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    path = write_npz(tmp_path / "set.npz")
    ref = locate(str(path), folder=folder, notify=lines.append)
    [copy] = (folder / "prepared").iterdir()
    copy.unlink()
    write_npz(path, seed=1)
    with pytest.raises(BadData, match="has changed"):
        load(ref, folder, lines.append)
    path.unlink()
    with pytest.raises(BadData, match="is not a file"):
        load(ref, folder, lines.append)


def test_npz_with_equal_size_and_time_is_prepared_again(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    path = write_npz(tmp_path / "set.npz", seed=0)
    before, status = locate(str(path), folder=folder, notify=lines.append), path.stat()
    write_npz(path, seed=1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert locate(str(path), folder=folder, notify=lines.append).fingerprint != before.fingerprint


def test_unfinished_files_of_killed_processes_are_removed(folder: Path, lines: list[str]) -> None:
    prepared = folder / "prepared"
    prepared.mkdir(parents=True)
    old, new = prepared / "mnist-sample.safetensors.1.tmp", prepared / "mnist-sample.safetensors.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    locate("mnist", wanted="sample", folder=folder, notify=lines.append)
    assert (old.exists(), new.exists()) == (False, True)


def test_relative_paths_are_resolved_and_missing_files_refused(
    folder: Path, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "set.npz")
    assert locate("set.npz", folder=folder, notify=lines.append).path == str(tmp_path / "set.npz")
    with pytest.raises(BadData, match=f"{tmp_path / 'gone.npz'} is not a file"):
        locate("./gone.npz", folder=folder, notify=lines.append)
    with pytest.raises(BadData, match="has no sample"):
        locate("set.npz", wanted="sample", folder=folder, notify=lines.append)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_copy_is_prepared_again_to_the_same_data(tmp_path: Path, at: int, flip: int, cut: bool) -> None:
    folder = tmp_path / "data"
    path = tmp_path / "set.npz"
    if not path.exists():
        write_npz(path)
    ref = locate(str(path), folder=folder, notify=lambda line: None)
    before = load(ref, folder)
    [copy] = (folder / "prepared").iterdir()
    whole = copy.read_bytes()
    at %= len(whole)
    copy.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    assert locate(str(path), folder=folder, notify=lambda line: None) == ref
    after = load(ref, folder)
    assert np.array_equal(after.train_images, before.train_images)
    assert np.array_equal(after.test_labels, before.test_labels)
    assert (after.mean, after.std, after.image_shape) == (before.mean, before.std, before.image_shape)
    assert [file.name for file in (folder / "prepared").iterdir()] == [copy.name]


def test_preparing_a_damaged_copy_again_gives_a_notice(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    write_idx(folder / "mnist")
    ref = locate("mnist", folder=folder, notify=lines.append)
    [copy] = (folder / "prepared").iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    assert locate("mnist", folder=folder, notify=lines.append) == ref
    assert lines[1] == f"{copy} is damaged: preparing it again"
    copy.write_bytes(whole[:-1] + b"\x77")
    assert len(load(ref, folder, lines.append).train_images) == 300
    assert "missing or damaged" in lines[3]
    assert copy.read_bytes() == whole


def test_processes_can_prepare_the_same_dataset_at_once(folder: Path) -> None:
    # Files of the same name and content in different places share one prepared copy, written again for each place.
    program = """
import os, shutil, sys
from pathlib import Path
from ffcli.data import datasets
folder, source = map(Path, sys.argv[1:])
for number in range(3):
    path = folder / f"{os.getpid()}-{number}" / source.name
    path.parent.mkdir(parents=True)
    shutil.copy(source, path)
    ref = datasets.locate(str(path), folder=folder, notify=lambda line: None)
    assert len(datasets.load(ref, folder).train_images) == 10_000
print(ref.fingerprint)
"""
    source = sample_file(CATALOGUE["fashion"])
    processes = [
        subprocess.Popen([sys.executable, "-c", program, folder, source], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 3
    assert len(answers) == 1
    assert len(list((folder / "prepared").iterdir())) == 1


def test_a_full_disk_is_reported_and_leaves_no_file(folder: Path, lines: list[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StorageFull, match=f"no space left to write {folder}"):
            locate("mnist", wanted="sample", folder=folder, notify=lines.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((folder / "prepared").iterdir())


def test_unwritable_folder_is_refused(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "file").touch()
    for dataset in ("mnist", str(write_npz(tmp_path / "set.npz"))):
        with pytest.raises(BadData, match=f"cannot write in {tmp_path / 'file/data'}: .*--data-dir"):
            locate(dataset, folder=tmp_path / "file/data", notify=lines.append)


def test_inventory_lists_every_available_dataset_and_source(folder: Path, tmp_path: Path, lines: list[str]) -> None:
    def here() -> dict[tuple[str, str], tuple[int, bool, str]]:
        return {(e.name, e.source): (e.train, e.prepared, e.origin) for e in inventory(folder)}

    shipped = {(name, "sample"): (10_000, False, "shipped with ffcli") for name in ("mnist", "fashion")}
    assert here() == shipped
    write_idx(tmp_path / "system/mnist")
    assert here() == shipped | {("mnist", "full"): (60_000, False, str(tmp_path / "system/mnist"))}
    path = write_npz(tmp_path / "mine.npz")
    mine = locate(str(path), folder=folder, notify=lines.append)
    import_files("mnist", tmp_path / "complete", folder, lines.append)
    assert here() == shipped | {
        ("mnist", "full"): (300, True, str(tmp_path / "complete")),
        ("mine", "file"): (20, True, str(path)),
    }
    entry = inventory(folder)[-1]
    assert (entry.fingerprint, entry.image_shape, entry.test) == (mine.fingerprint, (3, 4, 4), 10)
    [copy] = (folder / "prepared").glob("mine-*")
    assert entry.bytes == copy.stat().st_size
    sample = next(e for e in inventory(folder) if e.source == "sample")
    assert sample.bytes == sample_file(CATALOGUE[sample.name]).stat().st_size


@pytest.mark.skipif("FFCLI_TEST_DATA" not in os.environ, reason="FFCLI_TEST_DATA names no folder with the full sets")
def test_full_datasets_have_their_known_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    source = Path(os.environ["FFCLI_TEST_DATA"])
    for name, part, largest in (("mnist", "mnist", 11.35), ("fashion", "fashion-mnist", 10.0)):
        ref = import_files(name, source / part, tmp_path, lambda line: None)
        assert ref == DataRef(
            name=name, source="full", fingerprint=ref.fingerprint, features=784, classes=10,
            train=60_000, test=10_000, largest_class=largest,
        )  # fmt: skip
        arrays = load(ref, tmp_path)
        assert float(arrays.train_images.mean()) / 255 == pytest.approx(arrays.mean[0], abs=3e-4)
        assert datasets.locate(name, folder=tmp_path, notify=lambda line: None) == ref
