"""Where the database is: a path, a SQLite URL, or the default in the user's data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

import platformdirs

from ffcli.errors import BadDatabase, BadOption


@dataclass(frozen=True, slots=True)
class Location:
    """A database file, which need not exist."""

    path: Path
    """Absolute."""
    default: bool = False
    """Not named by the user, so that its folder may be created."""
    mode_ro: bool = False
    """The user asked for read-only access."""


def locate(db: str | Path | None = None) -> Location:
    """Return the location that `db` names.

    Args:
        db: a path, `sqlite:///PATH` (also `sqlite:///file:PATH?mode=ro&uri=true`), or None for the default.

    Raises:
        BadOption: for another database than SQLite, an in-memory database, or an unknown URL option.
    """
    if db is None:
        return Location(platformdirs.user_data_path("ffcli", appauthor=False) / "ffcli.db", default=True)
    text = str(db)
    path, query = _parse_url(text) if "://" in text else (text, "")
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    if unknown := options.keys() - {"mode", "uri"}:
        raise BadOption(f"{text}: unknown option '{min(unknown)}': a SQLite URL may have mode=ro and uri=true")
    if path in ("", ":memory:") or options.get("mode") == "memory":
        raise BadOption("an in-memory database stores nothing: give a path or sqlite:///PATH")
    return Location(Path(path).expanduser().absolute(), mode_ro=options.get("mode") == "ro")


def database_path(db: str | Path | None = None) -> Path:
    """Return the absolute path of the database file, which need not exist."""
    return locate(db).path


def existing(db: str | Path | None) -> Path:
    """Return the path of an existing database file.

    Raises:
        BadDatabase: if there is no such file.
    """
    path = database_path(db)
    if path.is_dir():
        raise BadDatabase(f"{path} is a folder: give a file in it, such as {path / 'ffcli.db'}")
    if not path.is_file():
        raise BadDatabase(f"there is no database {path}: check the path; `ff train` creates a database")
    return path


def _parse_url(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise BadOption(f"{scheme}:// is not supported: give a path or sqlite:///PATH")
    if not rest.startswith("/"):
        raise BadOption(f"{url}: a SQLite URL has three slashes before its path: sqlite:///{rest}")
    path, _, query = rest[1:].partition("?")
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file:"))
        path = "/" + path.lstrip("/") if path.startswith("//") else path
    return path, query
