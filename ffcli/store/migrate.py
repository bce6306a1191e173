"""Upgrade the schema of a database. Only the scripts in `migrations/` define the schema.

Opening a database compares its revision with HEAD; Alembic is imported only if they differ. An upgrade is one
transaction that begins with BEGIN IMMEDIATE, on a connection of its own with foreign keys off: Alembic alters a SQLite
table by copying it and dropping the original, and with foreign keys on, that would delete every child row.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from ffcli.errors import BadDatabase
from ffcli.store.sqlite import BEGIN, BUSY_TIMEOUT, IMMEDIATE, connect, copy_database, engine_for, is_busy
from ffcli.store.waiting import NOTICE_SECONDS, notify_waiting

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"
"""The revision of the schema that this program reads and writes."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A finished upgrade."""

    old: str | None
    """The revision before; None for a new database."""
    new: str
    backup: Path | None
    """The copy that was made first; None for a new database."""


def migrations_folder() -> Path:
    """Return the folder of the scripts: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def stored_revision(path: Path, *, read_only: bool, timeout: float = BUSY_TIMEOUT) -> str | None:
    """Return the revision of a database file, None if it is empty. The file is not changed.

    Raises:
        BadDatabase: if the tables belong to another program.
    """
    first = min(timeout, NOTICE_SECONDS)
    try:
        return _read_revision(path, read_only=read_only, timeout=first)
    except sqlite3.OperationalError as error:
        if not is_busy(error) or first == timeout:
            raise
        notify_waiting(path, timeout - first)
        return _read_revision(path, read_only=read_only, timeout=timeout - first)


def _read_revision(path: Path, *, read_only: bool, timeout: float) -> str | None:
    with connect(path, read_only=read_only, timeout=timeout) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        rows = connection.execute("SELECT * FROM alembic_version").fetchall() if "alembic_version" in tables else []
    if len(rows) != 1:
        raise BadDatabase(f"{path} holds other tables ({', '.join(sorted(tables)[:3])}): it is not a database of ffcli")
    return str(rows[0][0])


def upgrade(path: Path, *, timeout: float = BUSY_TIMEOUT, folder: Path | None = None) -> Upgrade | None:
    """Upgrade a database file to the newest revision. Of several processes one upgrades, while the others wait.

    Args:
        path: the file; one with tables is first copied to `<name>.<old revision>.bak`.
        timeout: seconds to wait for another process's lock.
        folder: the folder of the scripts; None for those of this program.

    Returns:
        The upgrade; None if another process did it in the meantime.

    Raises:
        BadDatabase: if the file is newer than the scripts, or rows would lose their parent; nothing is changed then.
    """
    folder = folder or migrations_folder()
    known = revisions(folder)
    refuse_newer(path, stored_revision(path, read_only=False, timeout=timeout) if path.exists() else None, known)
    engine = engine_for(path, timeout=timeout, foreign_keys=False, pooled=False).execution_options(**{BEGIN: IMMEDIATE})
    backup = None
    try:
        with engine.begin() as connection:
            old = stored_revision(path, read_only=False, timeout=timeout)
            if old == known[0]:
                return None
            refuse_newer(path, old, known)
            backup = _back_up(path, old, timeout) if old else None
            run_migrations(connection, folder)
            if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
                raise BadDatabase(f"{path}: not upgraded, because {len(broken)} rows would lose their parent")
    except BaseException:
        # The upgrade was rolled back, and the next attempt would leave another copy.
        if backup:
            backup.unlink(missing_ok=True)
        raise
    return Upgrade(old, known[0], backup)


def run_migrations(connection: Connection, folder: Path | None = None, target: str = "head") -> None:
    """Run the scripts up or down to a revision.

    Args:
        connection: a connection in a transaction of the caller, with foreign keys off.
        folder: the folder of the scripts; None for those of this program.
        target: a revision, `head`, `base`, or `-N` to go back N revisions.
    """
    from alembic import command

    config = _alembic_config(folder or migrations_folder())
    config.attributes["connection"] = connection
    if target == "base" or target.startswith("-"):
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)


def refuse_newer(path: Path, revision: str | None, known: list[str]) -> None:
    """Raise BadDatabase if the revision is not one of `known` (newest first)."""
    if revision is not None and revision not in known:
        raise BadDatabase(
            f"{path} is newer than this program (its revision is {revision}, this one knows {known[0]}):"
            " upgrade ffcli, or give another --db"
        )


def revisions(folder: Path | None = None) -> list[str]:
    """Return all revisions of the scripts, newest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_alembic_config(folder or migrations_folder()))
    return [script.revision for script in scripts.walk_revisions()]


def _alembic_config(folder: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _back_up(path: Path, revision: str, timeout: float) -> Path:
    """Copy the database while this process holds its write lock, which does not block readers."""
    target = path.with_name(f"{path.name}.{revision}.bak")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.{revision}.{count}.bak")
    copy_database(path, target, timeout=timeout)
    return target
