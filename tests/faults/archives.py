"""Malicious files: paths that lead out of an archive, pickles, decompression bombs, headers that promise too much."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from .campaign import Case, Problems
from .warm import Argument, ff
from .world import World, copy, snapshot, states, verdict, written_outside

BOMB = 4 << 30
"""Bytes to which a bomb expands; more than a command may allocate."""
BLOCK = 16 << 20

Members = dict[str, bytes]


class Payload:
    """Creates a file if it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.file), "w")


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield one case per archive; the scale changes nothing."""
    kinds: list[tuple[str, dict[str, Callable[[Path], bytes]], Callable[[Path, Path], list[tuple[Argument, ...]]]]] = [
        ("npz", _npz_files(world), _train_on),
        ("idx", _idx_files(world), _import_idx),
        ("tar", _tars(), lambda folder, file: [("data", "import", "cifar10", file)]),
        ("state", _safetensors(), lambda folder, file: _replace(world, folder, file, "db", ".state.safetensors")),
        ("weights", _safetensors(), lambda folder, file: _replace(world, folder, file, "db", ".weights.safetensors")),
        ("prepared", _safetensors(), lambda folder, file: _replace(world, folder, file, "data/prepared", "")),
    ]
    for kind, files, commands in kinds:
        for name, content in files.items():
            check = partial(_malicious, world, kind, content, commands)
            yield Case("malicious archives", f"archive/{kind}/{name}", check)


def _malicious(
    world: World,
    kind: str,
    content: Callable[[Path], bytes],
    commands: Callable[[Path, Path], list[tuple[Argument, ...]]],
    rng: random.Random,
    folder: Path,
) -> Problems:
    """Read an archive: the command succeeds or refuses it in one line, and writes nothing elsewhere."""
    copy(world.stored, folder)
    file = folder / f"evil.{kind}"
    file.write_bytes(content(folder / "unpickled"))
    jobs = commands(folder, file)
    before = snapshot(folder)
    for arguments in jobs:
        yield from verdict(ff(*arguments, folder=folder))
    yield from written_outside(folder, before)
    if (folder / "unpickled").exists():
        yield "a pickle was executed"


def _train_on(folder: Path, file: Path) -> list[tuple[Argument, ...]]:
    return [("train", "--dataset", file, "--hidden", "8", "--batch-size", "20", "--epochs", "1", "--quiet")]


def _import_idx(folder: Path, file: Path) -> list[tuple[Argument, ...]]:
    for name in ("tiny", "mnist"):
        _place_idx(folder, file, name)
    return [("data", "import", name, folder) for name in ("tiny", "mnist")]


def _place_idx(folder: Path, file: Path, name: str) -> None:
    """Put the file where the dataset's first file is expected, beside empty ones."""
    first, *rest = (
        ("train_images", "train_labels", "test_images", "test_labels")
        if name == "tiny"
        else ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    )
    (folder / first).symlink_to(file)
    for other in rest:
        (folder / other).write_bytes(b"\0")


def _replace(world: World, folder: Path, file: Path, place: str, suffix: str) -> list[tuple[Argument, ...]]:
    """Put the file in the place of all saved files of a kind."""
    for target in (folder / place).glob("*.safetensors") if not suffix else states(folder, suffix):
        shutil.copy(file, target)
    return [
        world.train("--keep-state", "always", epochs=5), world.train(seed=4), ("data", "list"), ("prune",),
        ("db", "check"),
    ]  # fmt: skip


def _npz_files(world: World) -> dict[str, Callable[[Path], bytes]]:
    with zipfile.ZipFile(world.npz) as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    images, labels = "train_images.npy", "train_labels.npy"

    def changed(**arrays: bytes) -> Callable[[Path], bytes]:
        return lambda payload: _zip(members | {f"{name}.npy": content for name, content in arrays.items()})

    def pickled(payload: Path) -> bytes:
        array = np.empty(1, dtype=object)
        array[0] = Payload(payload)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=True)
        return buffer.getvalue()

    lying = {
        "huge-shape": _npy((10**12, 6, 6)), "overflow-shape": _npy((2**62, 2**62, 4)), "negative-shape": _npy((-1, 6)),
        "huge-type": _npy((1,), "|S4000000000"), "object-type": _npy((2,), "|O"),
        "code-header": _npy("__import__('os')"),
        "deep-header": _npy("(" * 5000), "huge-header": b"\x93NUMPY\x02\0" + b"\xff" * 4 + b"x",
        "no-array": b"hello", "empty-member": b"", "many-dimensions": _npy((1,) * 60),
    }  # fmt: skip
    return {
        **{name: changed(train_images=content) for name, content in lying.items()},
        "object-member": lambda payload: _zip(members | {images: pickled(payload)}),
        "pickled-labels": lambda payload: _zip(members | {labels: pickled(payload)}),
        "extra-object": lambda payload: _zip(members | {"more.npy": pickled(payload)}),
        "single-object": pickled,
        "plain-pickle": lambda payload: pickle.dumps(Payload(payload)),
        "outside": lambda payload: _zip(members | {"../outside.npy": b"x", "/tmp/outside.npy": b"x"}),
        "outside-only": lambda payload: _zip({f"../{name}": content for name, content in members.items()}),
        "twice": lambda payload: _zip(members, twice=images),
        "symbolic-link": lambda payload: _zip(members | {images: b"/etc/passwd"}, link=images),
        "bomb": lambda payload: _zip(members, bombs=(images,)),
        "two-bombs": lambda payload: _zip(members, bombs=(images, "test_images.npy"), size=BOMB // 2 - BLOCK),
        "label-bomb": lambda payload: _zip(members, bombs=(labels,)),
        "extra-bomb": lambda payload: _zip(members, bombs=("more.npy",)),
        "many-members": lambda payload: _zip(members | {f"{n}.npy": b"" for n in range(20_000)}),
        "encrypted": lambda payload: _zip(members).replace(
            b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\1"
        ),
    }


def _idx_files(world: World) -> dict[str, Callable[[Path], bytes]]:
    def packed(header: bytes) -> bytes:
        return gzip.compress(header, 1) + gzip.compress(bytes(BLOCK), 1) * (BOMB // BLOCK)

    return {
        "bomb": lambda payload: packed(b"\0\0\x08\x03" + struct.pack(">3I", BOMB // 36, 6, 6)),
        "lying-bomb": lambda payload: packed(b"\0\0\x08\x03" + struct.pack(">3I", 100, 6, 6)),
        "huge-shape": lambda payload: b"\0\0\x08\x03" + b"\xff" * 12 + bytes(100),
        "zero-shape": lambda payload: b"\0\0\x08\x03" + bytes(12),
        "nested": lambda payload: gzip.compress(gzip.compress(bytes(BLOCK))),
    }


def _tars() -> dict[str, Callable[[Path], bytes]]:
    def tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for member in members:
                member.size = len(content) if member.isreg() else 0
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    def link(kind: bytes) -> tarfile.TarInfo:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.type, member.linkname = kind, "../../../etc/passwd"
        return member

    batch = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    return {
        "outside": lambda payload: tar(tarfile.TarInfo("../outside"), tarfile.TarInfo("/tmp/outside")),
        "symbolic-link": lambda payload: tar(link(tarfile.SYMTYPE)),
        "hard-link": lambda payload: tar(link(tarfile.LNKTYPE)),
        "device": lambda payload: tar(link(tarfile.CHRTYPE)),
        "pickle": lambda payload: tar(batch, content=pickle.dumps(Payload(payload))),
        "bomb": lambda payload: gzip.compress(bytes(BLOCK), 1) * (BOMB // BLOCK),
    }


def _safetensors() -> dict[str, Callable[[Path], bytes]]:
    def file(header: object, data: bytes = bytes(64), length: int | None = None) -> Callable[[Path], bytes]:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        return lambda payload: struct.pack("<Q", len(raw) if length is None else length) + raw + data

    def tensor(start: int, stop: int, *shape: int) -> dict[str, object]:
        return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}

    return {
        "huge-header": file(b"{}", length=2**62),
        "negative-header": file(b"{}", length=2**64 - 1),
        "overlapping": file({"a": tensor(0, 64, 16), "b": tensor(32, 64, 8)}),
        "huge-shape": file({"a": tensor(0, 64, 2**40, 2**40)}),
        "beyond-the-end": file({"a": tensor(0, 2**40, 2**38)}),
        "negative-offset": file({"a": tensor(-64, 0, 16)}),
        "deep-header": file(b'{"a":' * 100_000),
        "pickle": lambda payload: pickle.dumps(Payload(payload)),
    }


def _npy(shape: object, kind: str = "|u1") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(header)) + header + bytes(100)


def _zip(
    members: Members, *, bombs: tuple[str, ...] = (), size: int = BOMB - BLOCK, twice: str = "", link: str = ""
) -> bytes:
    """Return a zip file; the members of `bombs` are arrays of zeros that expand to `size` bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16 if name == link else 0
            if name not in bombs:
                archive.writestr(info, content)
        if twice:
            with warnings.catch_warnings(action="ignore"):
                archive.writestr(zipfile.ZipInfo(twice), members[twice])
    raw = bytearray(buffer.getvalue())
    for name in bombs:
        raw = _with_bomb(raw, name, size)
    return bytes(raw)


def _with_bomb(raw: bytearray, name: str, size: int) -> bytearray:
    """Insert a member whose compressed blocks repeat, which is written in milliseconds."""
    shape = (size,) if "labels" in name else (size // 36, 6, 6)
    header = _npy(shape)[:-100]
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = start + block * (size // BLOCK) + packer.flush()
    length = len(header) + size // BLOCK * BLOCK
    end = raw.rindex(b"PK\x05\x06")
    count, central, offset = struct.unpack_from("<HII", raw, end + 10)
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(data), length, len(name), 0)
    local = b"PK\x03\x04" + common + name.encode() + data
    entry = b"PK\x01\x02\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name.encode()
    tail = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, count + 1, count + 1, central + len(entry), offset + len(local), 0
    )
    return raw[:offset] + local + raw[offset:end] + entry + tail
