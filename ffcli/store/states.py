"""Weights and training states as safetensors files beside the database, each with a digest of its content.

Files are replaced atomically and never unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ffcli.errors import DamagedState
from ffcli.files import TEMPORARY, replacing
from ffcli.store import folder
from ffcli.store.database import Store
from ffcli.store.sqlite import os_error

if TYPE_CHECKING:
    # Imported at run time only where a file is read or written: importing numpy takes longer than listing the runs.
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]


def states_folder(store: Store) -> Path:
    """Return the folder of the weights and states of a database (see `ffcli.store.folder`)."""
    return folder.states_folder(store.path)


def state_path(store: Store, run_id: str) -> Path:
    """Return the file of the full training state of a run, from which it continues."""
    return states_folder(store) / f"{run_id}.state.safetensors"


def weights_path(store: Store, run_id: str) -> Path:
    """Return the file of the weights of a finished run."""
    return states_folder(store) / f"{run_id}.weights.safetensors"


def save(path: Path, tensors: Tensors, *, key: str, epoch: int, disposable: bool = False) -> None:
    """Write a state with a digest of its content, atomically.

    Args:
        path: the file; its folder is created.
        tensors: arrays by name.
        key: the key of the run.
        epoch: the epoch after which the state was taken.
        disposable: whether the file may be deleted to save space once its run is completed.

    Raises:
        StorageFull: if no space is left; the file keeps its content.
        BadDatabase: if the folder cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save as serialise

    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    metadata = {"key": key, "epoch": str(epoch)} | ({_DISPOSABLE: "yes"} if disposable else {})
    content = serialise(tensors, {**metadata, "digest": _digest(tensors, metadata)})
    try:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise os_error(error, path) from error


def load(path: Path, *, key: str) -> tuple[Tensors, int]:
    """Read a state that `save` wrote.

    Args:
        path: the file.
        key: the key of the run that the state must belong to.

    Returns:
        The arrays by name, and the epoch after which the state was taken.

    Raises:
        DamagedState: if the file is missing, is damaged, or belongs to another run.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest, epoch = metadata.pop("digest", None), int(metadata["epoch"])
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedState(f"the saved state {path} cannot be read: {error}") from error
    if digest != _digest(tensors, metadata):
        raise DamagedState(f"the saved state {path} is damaged: its digest differs")
    if metadata.get("key") != key:
        raise DamagedState(f"the saved state {path} belongs to another run")
    return tensors, epoch


def saved_epoch(path: Path) -> int | None:
    """Return the epoch in the header of a file, without a check of its digest; None if there is none."""
    try:
        return int(_metadata(path)["epoch"])
    except (ValueError, KeyError):
        return None


def is_disposable(path: Path) -> bool:
    """Return whether a file was saved as disposable."""
    return _DISPOSABLE in _metadata(path)


_DISPOSABLE = "disposable"


def saved_at(path: Path) -> float:
    """Return when a file was written, in seconds since 1970; 0 if another process deleted it."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _metadata(path: Path) -> Mapping[str, str]:
    """The header of a file; empty if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`, with a number if that exists, and return the new path."""
    aside, count = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.{count}.damaged")
    return path.rename(aside)


def files_of(store: Store, run_id: str) -> list[Path]:
    """Return all files of a run: state, weights, damaged files and unfinished files of a process that was killed.

    `run_id` may be any text: a damaged id has no files.
    """
    return [path for path in all_files(store) if run_of(path) == run_id]


def all_files(store: Store) -> list[Path]:
    """Return the files of all runs."""
    return sorted(path for path in states_folder(store).glob("*.safetensors*") if len(run_of(path)) == 32)


def run_of(path: Path) -> str:
    """Return the id of the run that a file belongs to."""
    return path.name.partition(".")[0]


def is_full_state(path: Path) -> bool:
    """Return whether a file is a full training state, not the weights alone."""
    return path.name.endswith(".state.safetensors")


def is_temporary(path: Path) -> bool:
    """Return whether a file is unfinished: being written, or left by a process that was killed."""
    return path.suffix == TEMPORARY


def remove(paths: Iterable[Path]) -> int:
    """Delete files and return their size in bytes. A file that another process deletes at the same time counts as 0."""
    freed = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed


def _digest(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes, bytes and metadata."""
    import numpy as np

    shapes = [[name, tensor.dtype.str, tensor.shape] for name, tensor in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([shapes, sorted(metadata.items())]).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(np.asarray(tensor, order="C").data)
    return digest.hexdigest()
