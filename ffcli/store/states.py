"""Weights and training states as safetensors files beside the database, each with a digest of what it holds.

A file is written under a temporary name, flushed to the disk and renamed: a reader finds the old one or the new one,
never half of one. Nothing here is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ffcli.errors import DamagedState
from ffcli.store.database import Store
from ffcli.store.sqlite import os_error

if TYPE_CHECKING:
    # At run time only where a file is read or written: to import it takes longer than to list the runs.
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

_TEMPORARY = ".tmp"


def states_folder(store: Store) -> Path:
    """`<database>.states/`, beside the database; it appears with the first file in it."""
    return store.path.with_name(f"{store.path.stem}.states")


def state_path(store: Store, run_id: str) -> Path:
    """The full training state of a run, from which it continues."""
    return states_folder(store) / f"{run_id}.state.safetensors"


def weights_path(store: Store, run_id: str) -> Path:
    """The weights of a finished run."""
    return states_folder(store) / f"{run_id}.weights.safetensors"


def save(path: Path, tensors: Tensors, metadata: Mapping[str, str], *, key: str, epoch: int) -> None:
    """Write `tensors` and `metadata`, with the run's key, the epoch and a digest of it all.

    Raises StorageFull, and BadDatabase where the folder cannot be written; the file that was there stays then.
    """
    import numpy as np
    from safetensors.numpy import save as serialise

    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    header = {**metadata, "key": key, "epoch": str(epoch)}
    content = serialise(tensors, {**header, "digest": _digest(tensors, header)})
    part = path.with_name(f"{path.name}.{uuid4().hex}{_TEMPORARY}")
    try:
        path.parent.mkdir(exist_ok=True)
        _write(part, content)
        os.replace(part, path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise os_error(error, path) from error


def load(path: Path, *, key: str) -> tuple[Tensors, dict[str, str]]:
    """Read back what `save` wrote: tensors, and metadata with `key` and `epoch`.

    Raises DamagedState where the file is missing, does not parse, fails its digest or belongs to another key.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedState(f"the saved state {path} cannot be read: {error}") from error
    if metadata.pop("digest", None) != _digest(tensors, metadata):
        raise DamagedState(f"the saved state {path} is not as it was written: its digest differs")
    if metadata.get("key") != key:
        raise DamagedState(f"the saved state {path} belongs to another run")
    return tensors, metadata


def saved_epoch(path: Path) -> int | None:
    """The epoch that a file says it is of, without a check of its digest; None for a missing or damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return int((file.metadata() or {})["epoch"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return None


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`, or with a number where there is one; returns the new path."""
    aside, count = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.{count}.damaged")
    return path.rename(aside)


def files_of(store: Store, run_id: str) -> list[Path]:
    """All files of a run: state, weights, damaged ones, and what a writer that died left."""
    return sorted(states_folder(store).glob(f"{run_id}.*"))


def all_files(store: Store) -> list[Path]:
    """The files of all runs."""
    return sorted(path for path in states_folder(store).glob("*.safetensors*") if len(run_of(path)) == 32)


def run_of(path: Path) -> str:
    """The id of the run that a file belongs to."""
    return path.name.partition(".")[0]


def is_full_state(path: Path) -> bool:
    return path.name.endswith(".state.safetensors")


def is_temporary(path: Path) -> bool:
    """Whether a writer left it, or is writing it now."""
    return path.suffix == _TEMPORARY


def remove(paths: Iterable[Path]) -> int:
    """Delete files; returns the bytes that they held."""
    freed = 0
    for path in paths:
        freed += path.stat().st_size
        path.unlink()
    return freed


def _digest(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """SHA-256 (the fastest of hashlib's where the processor helps: 25 MB in 20 ms) of names, types, shapes, bytes and
    metadata."""
    import numpy as np

    shapes = [[name, tensor.dtype.str, tensor.shape] for name, tensor in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([shapes, sorted(metadata.items())]).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(np.asarray(tensor, order="C").data)
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
