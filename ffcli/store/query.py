"""Answer a SELECT of the user, on a connection that can only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ffcli.errors import BadOption
from ffcli.store.database import Store, reading
from ffcli.text import printable

VIEWS = ("runs", "epochs", "cells")
"""The views that the migrations create for queries."""

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
"""What a statement may do. This also excludes ATTACH, which opens other files, and PRAGMA, which changes settings."""

STEPS = 100_000
"""Steps of SQLite's virtual machine after which Python may handle Ctrl-C."""


class Answer(NamedTuple):
    """The result of a query."""

    columns: list[str]
    """Distinct names: a repeated one has a number, `x:2`."""
    rows: list[tuple[Any, ...]]
    """Each value is a number, text, bytes or None."""


def query(store: Store, sql: str) -> Answer:
    """Return the result of one SELECT.

    Args:
        store: the database, opened with `read_only`.
        sql: the statement.

    Raises:
        BadOption: if it is not one valid SELECT.
        StoreBusy: if another process holds the lock for too long.
        KeyboardInterrupt: after Ctrl-C.
    """
    with reading(store) as connection, _only_reading(connection):
        try:
            result = connection.exec_driver_sql(sql)
            if not result.returns_rows:
                raise BadOption("the query is empty: give one SELECT")
            return Answer(_distinct(result.keys()), [tuple(row) for row in result])
        except (DBAPIError, sqlite3.Warning) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error  # raised in the progress handler, where sqlite3 discards it
            if (reason := _reason(cause)) is None:
                raise
            raise BadOption(f"the query cannot be answered: {reason}") from error


@contextmanager
def _only_reading(connection: Connection) -> Iterator[None]:
    """Let a connection only read, whatever is executed."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    connection.exec_driver_sql("PRAGMA query_only = ON")
    driver.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)
    driver.set_progress_handler(lambda: 0, STEPS)
    try:
        yield
    finally:
        driver.set_authorizer(None)
        driver.set_progress_handler(None, 0)


def _reason(error: object) -> str | None:
    """Return what is wrong with the statement; None if the statement is not at fault."""
    text = printable(str(error))
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_AUTH | sqlite3.SQLITE_ERROR if "not authorized" in text:
            return "only SELECT is allowed, and nothing that writes or opens another file"
        case sqlite3.SQLITE_ERROR if "no such table" in text:
            return f"{text}; there are the views {', '.join(VIEWS)}"
        case sqlite3.SQLITE_ERROR if "one statement" in text:
            return "it has several statements: give one SELECT"
        case sqlite3.SQLITE_ERROR if "bindings" in text:
            return "it has parameters (?), which have no values here"
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_RANGE | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_TOOBIG:
            return text
    return None


def _distinct(names: Sequence[str] | Any) -> list[str]:
    found: list[str] = []
    for name in names:
        count = 1
        while (unique := name if count == 1 else f"{name}:{count}") in found:
            count += 1
        found.append(unique)
    return found
