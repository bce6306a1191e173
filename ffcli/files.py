"""Write files atomically and durably: a reader finds the old content or the new content, never a part of it."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ffcli.errors import StorageFull

TEMPORARY = ".tmp"
"""How the name of an unfinished file ends; a process that was killed may leave one."""

STALE_SECONDS = 3600.0
"""Age from which on an unfinished file belongs to a process that was killed: writing one takes seconds."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file beside `path` to write to; at the end it is synced and replaces `path`.

    On an error the temporary file is deleted, and `path` keeps its content.

    Raises:
        StorageFull: if no space is left.
        OSError: if the file cannot be written for another reason.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}{TEMPORARY}")
    try:
        yield part
        _sync_file(part)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove the files and folders in `folder` that match `pattern` and were not changed for STALE_SECONDS."""
    for path in folder.glob(pattern):
        with suppress(OSError):
            newest = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
            if time.time() - newest < STALE_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_disk_full(error: OSError) -> bool:
    """Return whether the disk, a quota or a limit on the size of files (`ulimit -f`) leaves no space."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_full(target: Path | str) -> StorageFull:
    """Return the error that says that no space is left to write `target`."""
    return StorageFull(f"no space left to write {target}: free some space, or raise the limits (quota, ulimit -f)")


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the system can open a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
