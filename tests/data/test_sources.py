"""File formats, bundled samples and downloads: published content is read exactly, anything else is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import pickle
import struct
import sys
import tarfile
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_formats import idx, md5, published

from ffcli.data import sources
from ffcli.data.catalogue import CATALOGUE, Spec
from ffcli.data.formats import channel_statistics, read_cifar_archive, read_idx
from ffcli.data.npz import read_npz
from ffcli.data.sources import download, files_in, read_files, read_sample, sample_file
from ffcli.errors import BadData, DownloadFailed

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_file_reads_back_plain_or_gzipped(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "images"
    path.write_bytes(compress(idx(IMAGES)))
    assert np.array_equal(read_idx(path, md5(idx(IMAGES)), 10_000), IMAGES)


@settings(max_examples=150)
@given(st.booleans(), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_idx_file_never_gives_other_data(gz: bool, at: int, flip: int, cut: bool) -> None:
    whole = gzip.compress(idx(IMAGES), mtime=0) if gz else idx(IMAGES)
    at %= len(whole)
    damaged = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    with _file(damaged) as path:
        try:
            found = read_idx(path, md5(idx(IMAGES)), 10_000)
        except BadData as error:
            assert str(path) in str(error)  # noqa: PT017
        else:  # some bytes of a gzip header, such as the time, do not affect the content
            assert np.array_equal(found, IMAGES)


@contextlib.contextmanager
def _file(content: bytes, suffix: str = "") -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content)
        yield path


def test_idx_file_with_a_wrong_digest_is_refused_with_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(idx(IMAGES))
    with pytest.raises(BadData) as refusal:
        read_idx(path, "0" * 32, 10_000)
    assert all(part in str(refusal.value) for part in (str(path), md5(idx(IMAGES)), "0" * 32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(idx(IMAGES))[:-9], "truncated"),
        (idx(IMAGES)[:-1], "59 bytes of data, but its header says 60"),
        (b"<html>404</html>", "not an idx file"),
    ],
    ids=["empty", "truncated gz", "truncated", "html"],
)
def test_a_broken_idx_file_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadData, match=message):
        read_idx(path, md5(idx(IMAGES)), 10_000)


def python2_pickle(pixels: np.ndarray[Any, Any], labels: list[int]) -> bytes:
    """A batch of CIFAR-10 pickled as by Python 2: byte strings, and the old names of numpy."""

    def string(raw: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(raw)) + raw

    def integers(*values: int) -> bytes:
        return b"".join(b"J" + struct.pack("<i", value) for value in values)

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integers(0) + b"\x85" + string(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + integers(0, 1) + b"\x87R"
    dtype += b"(" + integers(3) + string(b"|") + b"NNN" + integers(-1, -1, 0) + b"tb"
    array = empty + b"(" + integers(1, *pixels.shape) + b"\x86" + dtype + b"\x89" + string(pixels.tobytes()) + b"tb"
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + b"](" + integers(*labels) + b"eu."


def archive(path: Path, batches: dict[str, bytes]) -> str:
    """Write an archive in the layout of CIFAR-10; return its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def test_cifar10_archive_reads_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 3072), dtype=np.uint8)
    contents = {name: python2_pickle(pixels[i], [0, i + 1]) for i, name in enumerate(BATCHES)}
    contents["test_batch"] = python2_pickle(pixels[5], [3, 3])
    digest = archive(tmp_path / "cifar.tar.gz", contents)
    images = read_cifar_archive([(tmp_path / "cifar.tar.gz", digest)], 100_000)
    assert np.array_equal(images.train_images, pixels[:5].reshape(10, 3, 32, 32))
    assert images.train_labels.tolist() == [0, 1, 0, 2, 0, 3, 0, 4, 0, 5]
    assert np.array_equal(images.test_images, pixels[5].reshape(2, 3, 32, 32))
    assert images.test_labels.tolist() == [3, 3]


def test_archive_with_a_wrong_digest_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    found = archive(path, dict.fromkeys(BATCHES, b"never read"))
    [(_, expected)] = CATALOGUE["cifar10"].files
    with pytest.raises(BadData, match=f"SHA-256 is {found}, expected {expected}"):
        read_files(CATALOGUE["cifar10"], [path])


class Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.victim, "written by a pickle")


def test_pickle_with_a_call_is_refused_despite_the_right_digest(tmp_path: Path) -> None:
    digest = archive(tmp_path / "evil.tar.gz", dict.fromkeys(BATCHES, pickle.dumps(Malice(tmp_path / "victim"))))
    with pytest.raises(BadData, match="is not allowed"):
        read_cifar_archive([(tmp_path / "evil.tar.gz", digest)], 100_000)
    assert not (tmp_path / "victim").exists()


def npz(folder: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "train_images": rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_images": rng.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8),
        "test_labels": np.array([2, 1, 0], dtype=np.uint8),
    }
    arrays.update(changes)
    path = folder / "set.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_npz_is_read_channels_first_with_channel_statistics(tmp_path: Path) -> None:
    path = npz(tmp_path)
    images = read_npz(path)
    pixels = np.load(path)["train_images"]
    assert np.array_equal(images.train_images[4, 2], pixels[4, :, :, 2])
    assert (images.train_images.shape, images.test_images.shape) == ((6, 3, 4, 5), (3, 3, 4, 5))
    mean, std = channel_statistics(images.train_images)
    assert np.allclose(mean, (pixels / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(std, (pixels / 255).std(axis=(0, 1, 2)), rtol=1e-12)


GRAY = np.zeros((6, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "has no test_labels"),
        (
            {"train_images": np.full((6, 4, 5, 3), 0.3)},
            r"a pixel 0\.3, which is not a multiple of 1/255",
        ),
        ({"train_images": np.full((6, 4, 5, 3), 7.5)}, r"train_images has a pixel 7\.5, which is not a whole number"),
        ({"train_images": np.full((6, 4, 5, 3), np.nan)}, "train_images has a pixel nan, expected 0 to"),
        ({"train_images": np.full((6, 4, 5, 3), -1.0)}, "train_images has a pixel -1, expected 0 to 1"),
        ({"train_images": np.full((6, 4, 5, 3), 256)}, "train_images has a pixel 256, expected 0 to 255"),
        (
            {"train_images": np.ones((6, 4, 5, 3)), "test_images": np.full((3, 4, 5, 3), 9.0)},
            "a pixel 9, expected 0 to 1",
        ),
        (
            {"train_images": np.zeros((6, 4, 5, 3), complex)},
            "train_images has type complex128, expected uint8 from 0",
        ),
        ({"train_images": np.zeros((6, 20), np.uint8)}, r"shape \(6, 20\), expected \(N, H, W\)"),
        ({"train_images": np.zeros((0, 4, 5), np.uint8)}, r"shape \(0, 4, 5\)"),
        ({"train_images": np.zeros((6, 3, 32, 32), np.uint8)}, "channels last"),
        ({"train_images": GRAY}, r"training images have shape .* \(1, 4, 5\), test images \(3, 4, 5\)"),
        ({"train_labels": np.arange(5)}, "6 train_images but 5 train_labels"),
        ({"test_labels": np.arange(4)}, "3 test_images but 4 test_labels"),
        ({"train_labels": np.zeros(6)}, "train_labels has type float64"),
        ({"train_labels": np.eye(6, 3, dtype=int)}, r"expected integers \(N,\)"),
        ({"train_labels": np.zeros(6, int)}, "at least 2 classes"),
        ({"train_labels": np.array([-1, 0, 1, 2, 0, 1])}, "smallest training label is -1"),
        ({"train_labels": np.array([1, 2, 3, 1, 2, 3])}, "smallest training label is 1"),
        ({"test_labels": np.array([0, 7, 1])}, "test label 7 is outside the training classes 0 to 2"),
        ({"test_labels": np.array([0, -2, 1])}, "test label -2 is outside"),
        ({"train_labels": np.array([object()] * 6)}, "train_labels has type object"),
        ({"train_labels": np.array(list("abcabc"))}, "train_labels has type text"),
    ],
)
def test_npz_that_is_not_a_dataset_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = npz(tmp_path, **changes)
    with pytest.raises(BadData, match=message) as refusal:
        read_npz(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "stored",
    [
        lambda pixels: pixels.astype(np.float32) / 255,
        lambda pixels: pixels.astype(np.float16) / np.float16(255),
        lambda pixels: pixels / 255,
        lambda pixels: pixels.astype(np.float32) * np.float32(1 / 255),
        lambda pixels: pixels.astype(np.float64),
        lambda pixels: pixels.astype(">i4"),
    ],
)
def test_other_numbers_become_the_bytes_that_they_were(tmp_path: Path, stored: Any) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    labels = np.array([0, 1, 0, 1])
    path = tmp_path / "keras.npz"
    np.savez(path, x_train=stored(levels), y_train=labels[:, None], x_test=stored(levels // 2), y_test=labels[:, None])
    images = read_npz(path)
    assert np.array_equal(images.train_images, levels[:, None])
    assert np.array_equal(images.test_images, levels[:, None] // 2)
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 1, 0, 1]


NEWER = ["kmnist", "emnist-letters", "svhn"]


@pytest.mark.parametrize("name", NEWER)
def test_published_format_is_read_and_damage_refused(tmp_path: Path, name: str) -> None:
    spec, expected = published(tmp_path, name)
    images = read_files(spec, files_in(spec, tmp_path) or ())
    assert [part.tolist() for part in images] == [part.tolist() for part in expected]
    first = tmp_path / spec.files[0][0]
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadData, match=f"{first.name} is not the published file: its MD5 is"):
        read_files(spec, files_in(spec, tmp_path) or ())
    # A file with the right digest and other content is refused as well.
    first.write_bytes(b"no such format")
    other = dataclasses.replace(spec, files=((first.name, md5(b"no such format")), *spec.files[1:]))
    with pytest.raises(BadData, match=str(first)) as refusal:
        read_files(other, files_in(other, tmp_path) or ())
    assert "\n" not in str(refusal.value)


def test_digests_are_those_of_torchvision() -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    assert list(CATALOGUE["kmnist"].files) == datasets.KMNIST.resources
    assert [digest for _, digest in CATALOGUE["emnist-letters"].files] == [datasets.EMNIST.md5]
    of_svhn = [tuple(datasets.SVHN.split_list[split][1:]) for split in ("train", "test")]
    assert list(CATALOGUE["svhn"].files) == of_svhn


@pytest.mark.parametrize("name", NEWER)
def test_download_of_each_format(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    url, folder = server
    monkeypatch.setenv("no_proxy", "*")
    spec, expected = published(folder, name)
    match name:
        case "kmnist":
            monkeypatch.setattr(datasets.KMNIST, "mirrors", [url])
            monkeypatch.setattr(datasets.KMNIST, "resources", list(spec.files))
        case "svhn":
            splits = {split: [url + f, f, md5] for split, (f, md5) in zip(("train", "test"), spec.files, strict=True)}
            monkeypatch.setattr(datasets.SVHN, "split_list", splits)
        case _:
            monkeypatch.setattr(datasets.EMNIST, "url", url + "gzip.zip")
            monkeypatch.setattr(datasets.EMNIST, "md5", spec.files[0][1])
    images = download(dataclasses.replace(spec, host=url), tmp_path / "data", lambda line: None)
    assert np.array_equal(images.train_images, expected[0])
    assert sorted(path.name for path in (tmp_path / "data" / spec.folders[0]).iterdir()) == sorted(
        file for file, _ in spec.files
    )


def test_compressed_files_that_grow_beyond_the_dataset_are_not_read(tmp_path: Path) -> None:
    size = 200_000_000
    zeros = io.BytesIO()
    with gzip.GzipFile(fileobj=zeros, mode="w", compresslevel=1) as stream:
        for _ in range(size // 10_000_000):
            stream.write(bytes(10_000_000))
    for name, _ in CATALOGUE["mnist"].files:
        (tmp_path / f"{name}.gz").write_bytes(zeros.getvalue())
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(bytes(size))
    for name in ("mnist", "cifar10"):
        spec = CATALOGUE[name]
        tracemalloc.start()
        with pytest.raises(BadData, match="is not the published file: it holds more than"):
            read_files(spec, files_in(spec, tmp_path) or ())
        assert tracemalloc.get_traced_memory()[1] < 3 * spec.largest_file < 3 * size
        tracemalloc.stop()


def declared(shape: tuple[int, ...], type_: str) -> bytes:
    """The header of an array."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": type_, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"hello", "train_images is not an array"),
        (b"\x93NUMPY\x07\x00", "unknown format"),
        (declared((10**12, 28, 28), "|u1"), "size of train_images differs from its header"),
        (declared((6, 4, 5), "|O"), "train_images has type object, expected uint8"),
        (declared((6, 4, 5), "<U3"), "train_images has type text, expected uint8"),
        (b"\x93NUMPY\x01\x00\x10\x27" + 10_000 * b"[", "truncated or damaged"),
    ],
)
def test_npz_members_that_are_no_arrays_of_pixels_are_refused(tmp_path: Path, member: bytes, message: str) -> None:
    path = npz(tmp_path, train_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", member)
    with pytest.raises(BadData, match=message) as refusal:
        read_npz(path)
    assert "pickle" not in str(refusal.value)


def test_npz_that_declares_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffcli.data.npz.MAX_BYTES", 1_000_000)
    path = tmp_path / "set.npz"
    np.savez_compressed(
        path,
        train_images=np.zeros((100, 1000, 1000), np.uint8),
        train_labels=np.arange(100),
        test_images=np.zeros((1, 1000, 1000), np.uint8),
        test_labels=np.arange(1),
    )
    tracemalloc.start()
    with pytest.raises(BadData, match=r"declares 0\.1 GB of images and labels, expected at most"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_file_that_is_not_an_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with pytest.raises(BadData, match="is not a file"):
        read_npz(path)
    for content, message in ((b"", "is empty"), (b"not a zip", "not an .npz"), (_npy(), "a single array")):
        path.write_bytes(content)
        with pytest.raises(BadData, match=message):
            read_npz(path)


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, GRAY)
    return stream.getvalue()


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_npz_never_gives_other_data(at: int, flip: int, cut: bool) -> None:
    whole = _whole_npz()
    at %= len(whole)
    damaged = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    with _file(whole) as path:
        before = read_npz(path)
    with _file(damaged, ".npz") as path:
        try:
            found = read_npz(path)
        except BadData as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert [part.tolist() for part in found] == [part.tolist() for part in before]


def _whole_npz() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return npz(Path(folder)).read_bytes()


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_bundled_sample_is_balanced_and_complete(name: str) -> None:
    images = read_sample(CATALOGUE[name])
    assert np.bincount(images.train_labels).tolist() == [1000] * 10
    assert np.bincount(images.test_labels).tolist() == [200] * 10
    assert images.train_images.shape == (10_000, 1, 28, 28)
    assert images.test_images.shape == (2_000, 1, 28, 28)
    # Mean and deviation of the sample are close to those of the full dataset.
    (mean,), (std,) = channel_statistics(images.train_images)
    known = CATALOGUE[name].normalisation
    assert known is not None
    assert [mean, std] == pytest.approx([known[0][0], known[1][0]], abs=3e-3)
    assert sample_file(CATALOGUE[name]).with_name(f"LICENSE-{name}.txt").read_text(encoding="utf-8")


def test_samples_take_at_most_8_mb() -> None:
    assert sum(sample_file(spec).stat().st_size for spec in CATALOGUE.values() if spec.has_sample) <= 8_000_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server: its address, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", folder
        server.shutdown()


@pytest.fixture
def served(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Spec, Path]:
    """A small Fashion-MNIST that torchvision downloads from the server, and the server's folder."""
    datasets = pytest.importorskip("torchvision.datasets")
    url, folder = server
    monkeypatch.setenv("no_proxy", "*")
    sample = read_sample(CATALOGUE["fashion"])
    small = [idx(np.squeeze(part[:200])) for part in sample]
    names = [name for name, _ in CATALOGUE["fashion"].files]
    resources = []
    for name, raw in zip(names, small, strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        resources.append((f"{name}.gz", md5((folder / f"{name}.gz").read_bytes())))
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [url + "gone/", url])
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    digests = tuple(zip(names, map(md5, small), strict=True))
    return dataclasses.replace(CATALOGUE["fashion"], host=url, files=digests), folder


def test_download_is_verified_and_put_in_place(
    served: tuple[Spec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, _ = served
    lines: list[str] = []
    images = download(spec, tmp_path / "data", lines.append)
    assert np.array_equal(images.train_images, read_sample(CATALOGUE["fashion"]).train_images[:200])
    assert sorted(path.name for path in (tmp_path / "data/fashion").iterdir()) == sorted(
        f"{n}.gz" for n, _ in spec.files
    )
    assert lines == ["downloading fashion from 127.0.0.1"]
    assert capsys.readouterr() == ("", "")


def test_download_of_other_content_is_refused_and_leaves_no_file(served: tuple[Spec, Path], tmp_path: Path) -> None:
    spec, folder = served
    other = dataclasses.replace(spec, files=(*spec.files[:3], (spec.files[3][0], "0" * 32)))
    with pytest.raises(DownloadFailed, match="the server sent wrong data"):
        download(other, tmp_path / "data", lambda line: None)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"an error page")
    with pytest.raises(DownloadFailed, match="the download failed"):
        download(spec, tmp_path / "data", lambda line: None)
    assert not list((tmp_path / "data/fashion").iterdir())


def test_missing_torchvision_explains_what_to_install(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DownloadFailed, match=r'pip install "\.\[download\]"'):
        download(dataclasses.replace(CATALOGUE["mnist"], host=server[0]), tmp_path / "data", lambda line: None)


def test_unresponsive_network_times_out_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.3)
    monkeypatch.setenv("no_proxy", "*")
    # An address for documentation (RFC 5737): packets to it are dropped or refused everywhere.
    spec = dataclasses.replace(CATALOGUE["mnist"], host="http://192.0.2.1")
    begin = time.perf_counter()
    with pytest.raises(DownloadFailed, match=r"cannot reach 192\.0\.2\.1"):
        download(spec, tmp_path, lambda line: None)
    assert time.perf_counter() - begin < 30
