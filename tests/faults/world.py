"""What the cases share: a small dataset, folders to copy, and what is compared after a fault."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ffcli.data.catalogue import CATALOGUE, Spec
from ffcli.store.database import open_store
from ffcli.store.runs import Filters, epochs, list_runs
from ffcli.store.states import load, weights_path

from .warm import Argument, Done, Fault, ff, has_shim

RUN_FILE = re.compile(r"[0-9a-f]{32}")
OURS = re.compile(r"(db/ff\.|db/[^/]*states(/|$)|db$|data(/|$)|tmp/|home(/|$)|out\.)")
"""Paths in the folder of a case at which a command may write."""

Bits = dict[str, Any]
"""What must not depend on interruptions, by key of the run: status, every epoch, digest of the weights."""


@dataclass(frozen=True, slots=True)
class World:
    """Folders that cases copy; nothing in them is changed."""

    npz: Path
    """A dataset of 100 training images, which trains an epoch in milliseconds."""
    idx: Path
    """A folder with the files of `tiny`, a named dataset that the campaign adds to the catalogue."""
    empty: Path
    """A prepared dataset, no database."""
    stored: Path
    """Runs that are completed, with and without state, superseded, traced."""
    other: Path
    """Another database, with a longer run of the same key and a run of its own."""
    killed: Path | None
    """`stored` and a run that was killed in its third epoch, with a write-ahead log; None without the shim."""

    def train(self, *more: Argument, seed: int = 0, epochs: int = 3) -> tuple[Argument, ...]:
        """Return the arguments that train a run."""
        return (
            "train", "--dataset", self.npz, "--hidden", "8,8", "--batch-size", "20", "--quiet",
            "--seed", str(seed), "--epochs", str(epochs), *more,
        )  # fmt: skip


def build(folder: Path) -> World:
    """Make the datasets and databases in a folder."""
    random = np.random.default_rng(0)
    arrays = {
        name: random.integers(0, 256, (count, 6, 6), dtype=np.uint8)
        for name, count in (("train_images", 100), ("test_images", 40))
    } | {"train_labels": np.arange(100, dtype=np.uint8) % 4, "test_labels": np.arange(40, dtype=np.uint8) % 4}
    folder.mkdir(parents=True, exist_ok=True)
    npz, idx = folder / "own.npz", folder / "idx"
    np.savez(npz, allow_pickle=False, **arrays)
    _add_to_catalogue(idx, arrays)
    empty, stored, other, killed = (folder / name for name in ("empty", "stored", "other", "killed"))
    world = World(npz, idx, empty, stored, other, killed if has_shim() else None)
    _ok(empty, world.train("--dry-run"))
    shutil.rmtree(empty / "db")
    shutil.copytree(empty, stored)
    _ok(stored, world.train("--keep-state", "always", "--name", "first", "--tag", "kept"))
    _ok(stored, world.train("--trace", "1-2", "--neg", "masks", seed=1))
    _ok(stored, world.train("--keep-state", "always", seed=2))
    _ok(stored, world.train("--keep-state", "always", "--force", seed=2))
    shutil.copytree(empty, other)
    _ok(other, world.train("--keep-state", "always", epochs=5))
    _ok(other, world.train("--keep-state", "always", seed=9))
    if world.killed:
        copy(stored, killed)
        calls = ff(*world.train(seed=5), folder=copy(stored, folder / "counted"), fault=Fault("count")).calls
        ff(*world.train(seed=5), folder=killed, fault=Fault("kill", int(calls * 0.75)))
        assert any(path.name.endswith("-wal") for path in (killed / "db").iterdir())
    return world


def copy(source: Path, target: Path) -> Path:
    """Copy the content of a folder; every case also has a home and a folder of temporary files."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for name in ("home", "tmp", "db"):
        (target / name).mkdir(exist_ok=True)
    return target


def database(folder: Path) -> Path:
    return folder / "db" / "ff.db"


def states(folder: Path, suffix: str) -> list[Path]:
    """Return the saved files of runs that end with `suffix`, wherever the version under test keeps them."""
    return sorted(path for path in (folder / "db").glob(f"*/*{suffix}"))


def bits(folder: Path) -> Bits:
    """Return what a database contains of its current runs."""
    with open_store(database(folder), create=False) as store:
        found = {}
        for run in list_runs(store, Filters()):
            weights = weights_path(store, run.id)
            rows = [{k: v for k, v in asdict(e).items() if k != "seconds"} for e in epochs(store, run.id)]
            found[run.key] = (run.status, rows, _digest(weights, run.key) if weights.exists() else None)
        return found


def _digest(weights: Path, key: str) -> str:
    """Return a digest of the tensors; the order of the file's metadata is not defined."""
    tensors, epoch = load(weights, key=key)
    content = b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))
    return hashlib.sha256(content + str(epoch).encode()).hexdigest()


def differences(found: Bits, expected: Bits) -> Iterator[str]:
    """Yield how two databases differ in the bits of their runs."""
    for key in expected.keys() - found.keys():
        yield f"the run {key[:7]} is lost"
    for key in found.keys() - expected.keys():
        yield f"there is another run {key[:7]}"
    for key in found.keys() & expected.keys():
        (status, rows, weights), (status2, rows2, weights2) = found[key], expected[key]
        if status != status2:
            yield f"run {key[:7]} is {status}, not {status2}"
        if rows != rows2:
            numbers, wanted = ([row["epoch"] for row in each] for each in (rows, rows2))
            yield f"run {key[:7]} has epochs {numbers}, not {wanted}" if numbers != wanted else "an epoch differs"
        if weights != weights2:
            yield f"run {key[:7]}: its weights are missing or differ"


def listing(folder: Path) -> list[str]:
    """Return all files except temporary ones, with `RUN` for ids and dates."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    kept = (
        name
        for name in names
        if not name.startswith("tmp/") and ".tmp" not in name and not name.endswith(("-shm", "-wal"))
    )
    return sorted(re.sub(r"\d{8}T\d{6}Z", "TIME", RUN_FILE.sub("RUN", name)) for name in kept)


NEVER = ("Traceback", "internal error", "Exception ignored", "database is locked")
"""What no command prints on stderr."""


def verdict(done: Done, codes: tuple[int, ...] = (0, 1, 2)) -> Iterator[str]:
    """Yield what is wrong with the end of a command."""
    command = " ".join(os.fsdecode(argument) for argument in done.arguments)[-150:]
    text = f"`ff {command}`: exit {done.code}: {' '.join(done.err.split())[-300:]}"
    if done.code not in codes or any(word in done.err for word in NEVER):
        yield text
    elif done.code and not done.err.strip():
        yield f"{text} (no message)"
    elif done.code and sum(line.startswith("ff: ") for line in done.err.splitlines()) > 1:
        yield f"{text} (more than one line)"


def check_sound(folder: Path) -> Iterator[str]:
    """Yield what `ff db check` reports."""
    if database(folder).exists():
        done = ff("db", "check", folder=folder)
        yield from verdict(done, (0,))


def worker_processes(parent: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes of a sweep or of `ff worker`."""
    return [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]


def snapshot(folder: Path) -> dict[str, str]:
    """Return the files at which no command may write, with their content."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if not OURS.match(name := str(path.relative_to(folder)))
    }


def written_outside(folder: Path, before: dict[str, str]) -> Iterator[str]:
    """Yield the files that were written where no command may write."""
    for name, _ in snapshot(folder).items() ^ before.items():
        yield f"{name} was written, or changed"


def _ok(folder: Path, arguments: tuple[Argument, ...]) -> None:
    for name in ("home", "tmp", "db"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    done = ff(*arguments, folder=folder)
    assert done.code == 0, done


def _add_to_catalogue(folder: Path, arrays: dict[str, Any]) -> None:
    """Write the arrays as idx files, and add them to the catalogue as the dataset `tiny`."""
    folder.mkdir()
    files = []
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        array = arrays[name]
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        content = header + array.tobytes()
        (folder / name).write_bytes(content)
        files.append((name, hashlib.md5(content).hexdigest()))
    CATALOGUE["tiny"] = Spec(
        name="tiny", title="Tiny", torchvision="MNIST", host="https://localhost", format="idx", files=tuple(files),
        folders=("tiny",), image_shape=(1, 6, 6), train=100, test=40, normalisation=((0.5,), (0.3,)),
    )  # fmt: skip
