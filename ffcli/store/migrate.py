"""The schema's version, and its upgrade. The scripts in `migrations/` are the only author of the schema.

Opening a database compares its revision with HEAD; Alembic is imported only where they differ. An upgrade is one
transaction, begun IMMEDIATE, on one connection of its own with foreign keys off: Alembic alters a SQLite table by
making it anew and dropping the old one, and with foreign keys on, dropping a parent deletes every child row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from ffcli.errors import BadDatabase
from ffcli.store.sqlite import BEGIN, BUSY_TIMEOUT, IMMEDIATE, connect, copy_database, engine_for

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"
"""The revision that this program reads and writes."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did. `old`: the revision before, None for a new database; `backup`: the copy made first."""

    old: str | None
    new: str
    backup: Path | None


def migrations_folder() -> Path:
    """Where the scripts lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def look(path: Path, *, read_only: bool, timeout: float = BUSY_TIMEOUT) -> str | None:
    """The revision of a database file, None for an empty one; the file is left as it is.

    Raises BadDatabase where the tables in it are not ours.
    """
    with connect(path, read_only=read_only, timeout=timeout) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        rows = connection.execute("SELECT * FROM alembic_version").fetchall() if "alembic_version" in tables else []
    if len(rows) != 1:
        raise BadDatabase(f"{path} holds other tables ({', '.join(sorted(tables)[:3])}): it is no ffcli database")
    return str(rows[0][0])


def upgrade(path: Path, *, timeout: float = BUSY_TIMEOUT, folder: Path | None = None) -> Upgrade | None:
    """Bring the database file `path` to the newest revision in `folder`; None where another process just did.

    A file with tables is copied first, to `<name>.<old revision>.bak`. Of several processes one upgrades, the others
    wait. Raises BadDatabase where the file is newer than `folder` or would lose references; nothing is changed then.
    """
    folder = folder or migrations_folder()
    known = revisions(folder)
    refuse_newer(path, look(path, read_only=False, timeout=timeout) if path.exists() else None, known)
    engine = engine_for(path, timeout=timeout, foreign_keys=False, pooled=False).execution_options(**{BEGIN: IMMEDIATE})
    with engine.begin() as connection:
        old = look(path, read_only=False, timeout=timeout)
        if old == known[0]:
            return None
        refuse_newer(path, old, known)
        backup = _back_up(path, old, timeout) if old else None
        run_migrations(connection, folder)
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
            raise BadDatabase(f"{path}: the upgrade would leave {len(broken)} rows without their parent; it is undone")
    return Upgrade(old, known[0], backup)


def run_migrations(connection: Connection, folder: Path | None = None, target: str = "head") -> None:
    """Run the scripts in `folder` up (or down) to `target` on a connection whose transaction the caller owns."""
    from alembic import command

    config = _alembic_config(folder or migrations_folder())
    config.attributes["connection"] = connection
    if target == "base" or target.startswith("-"):
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)


def refuse_newer(path: Path, revision: str | None, known: list[str]) -> None:
    """Raise BadDatabase for a revision that is not among the `known` (newest first)."""
    if revision is not None and revision not in known:
        raise BadDatabase(
            f"{path} is newer than this program (its revision is {revision}, this one knows {known[0]}):"
            " upgrade ffcli, or give another --db"
        )


def revisions(folder: Path | None = None) -> list[str]:
    """All revisions in `folder`, newest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_alembic_config(folder or migrations_folder()))
    return [script.revision for script in scripts.walk_revisions()]


def _alembic_config(folder: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _back_up(path: Path, revision: str, timeout: float) -> Path:
    """Copy the database while this process holds its write lock, which shuts no reader out."""
    target = path.with_name(f"{path.name}.{revision}.bak")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.{revision}.{count}.bak")
    copy_database(path, target, timeout=timeout)
    return target
