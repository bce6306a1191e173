"""The folder of a database's weights and states: `<file name>.states`, such as `study.db.states`, beside the file.

The whole file name, because `study.db`, its copy `study.bak` and `study.sqlite` are different databases. Earlier
versions of ffcli left out the suffix (`study.states`), so that these databases shared one folder. `adopt_old_folder`
takes the files over before a database is written for the first time:

- If no other database has the old folder, it is renamed. What a process of an older version writes later into a new
  old folder is moved when the database is opened the next time.
- Otherwise the new folder gets hard links to the files of the database's runs (copies, where there are no links), and
  the old folder stays as it is for the other databases.

Both are atomic, so that a process that is killed leaves either the old state or the new one. A database that was not
opened for writing since is read with its old folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from ffcli.files import TEMPORARY


def states_folder(database: Path) -> Path:
    """Return the folder of the weights and states of a database; it is created with its first file."""
    new, old = _new(database), _old(database)
    return old if old.is_dir() and not new.is_dir() else new


def shares_folder(database: Path) -> bool:
    """Return whether the folder may hold files of another database, which an older version wrote."""
    return states_folder(database) == _old(database) and _has_namesake(database)


def adopt_old_folder(database: Path, run_ids: Callable[[], Collection[str]]) -> None:
    """Take over the files that an older version of ffcli wrote.

    Args:
        database: the database, which is about to be written.
        run_ids: returns the ids of its runs; called if other databases share the old folder.

    Raises:
        OSError: if the files cannot be taken over.
    """
    old, new = _old(database), _new(database)
    if old == new or not old.is_dir():
        return
    if _has_namesake(database):
        if not new.exists():
            _link(old, new, run_ids())
    else:
        # Another process may have renamed it.
        with suppress(FileNotFoundError):
            _move(old, new) if new.exists() else old.rename(new)


def _new(database: Path) -> Path:
    return database.with_name(f"{database.name}.states")


def _old(database: Path) -> Path:
    return database.with_name(f"{database.stem}.states")


def _has_namesake(database: Path) -> bool:
    """Whether there is another database beside it whose name differs only in the suffix."""
    return any(
        path.stem == database.stem and path.name != database.name and _is_database(path)
        for path in database.parent.iterdir()
    )


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _link(old: Path, new: Path, run_ids: Collection[str]) -> None:
    """Create the new folder with the files of these runs."""
    part = Path(tempfile.mkdtemp(prefix=f"{new.name}.", suffix=TEMPORARY, dir=new.parent))
    try:
        for path in old.iterdir():
            if path.name.partition(".")[0] in run_ids and path.suffix != TEMPORARY:
                # Another process may have replaced or deleted it.
                with suppress(FileNotFoundError):
                    _link_or_copy(path, part / path.name)
        part.chmod(old.stat().st_mode)
        try:
            part.rename(new)
        except OSError:
            if not new.is_dir():
                raise  # Otherwise another process has created it.
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _move(old: Path, new: Path) -> None:
    """Move the finished files of a folder; remove it if nothing is left."""
    for path in old.iterdir():
        if path.suffix != TEMPORARY:
            with suppress(FileNotFoundError):
                path.replace(new / path.name)
    with suppress(OSError):
        old.rmdir()
