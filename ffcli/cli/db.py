"""`ff db`: path, upgrade, check, backup and merge of databases, and queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ffcli.cli.commands import Group

if TYPE_CHECKING:
    from ffcli.store.query import Answer

db_app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Manage the database: path, upgrade, check, backup, merge, query."
)

Db = Annotated[
    str | None, typer.Option("--db", envvar="FFCLI_DB", help="Database: a path or sqlite:///PATH.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@db_app.command()
def path(db: Db = None, json: Json = False) -> None:
    """Print the path of the database."""
    from ffcli.cli.console import line, print_json
    from ffcli.store.location import database_path

    place = database_path(db)
    if json:
        print_json({"path": str(place), "exists": place.is_file()})
    else:
        line(place)


@db_app.command()
def upgrade(db: Db = None, json: Json = False) -> None:
    """Upgrade the database to this program's version, after a backup. Other commands do so automatically."""
    from ffcli.cli.console import line, message, print_json
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.store.migrate import HEAD

    with open_store(existing(db)) as store:
        done = store.upgraded
    if json:
        backup = str(done.backup) if done and done.backup else None
        print_json({"path": str(store.path), "from": done.old if done else HEAD, "to": HEAD, "backup": backup})
        return
    line(f"{store.path}: " + (f"upgraded from {done.old or 'empty'} to {HEAD}" if done else f"is at {HEAD}"))
    if done and done.backup:
        message(f"backup of the database before the upgrade: {done.backup}")


@db_app.command()
def check(db: Db = None, json: Json = False) -> None:
    """Check the integrity of the database, and that every run is readable and lacks no epoch; exit code 1 if not."""
    from dataclasses import asdict

    from ffcli.cli.console import line, message, print_json
    from ffcli.store import maintenance
    from ffcli.text import counted

    health = maintenance.check(db)
    if json:
        print_json({"ok": not health.problems, **asdict(health)})
    else:
        parts = ["damaged" if health.problems else "sound"]
        if health.revision or not health.problems:
            outdated = "" if health.revision == health.head else " (needs an upgrade)"
            content = f"{counted(health.runs, 'run')}, {counted(health.epochs, 'epoch')}"
            parts.append(f"revision {health.revision or 'none'}{outdated}, {content}")
        line(f"{health.path}: {', '.join(parts)}, {health.bytes / 1e6:.1f} MB")
        for problem in health.problems:
            message(problem)
    raise typer.Exit(1 if health.problems else 0)


@db_app.command()
def backup(
    to: Annotated[Path | None, typer.Argument(help="Path of the copy; default: beside the database.")] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Copy the database, even while runs write to it. Weights and states are not copied."""
    from ffcli.cli.console import line, print_json
    from ffcli.store import maintenance

    copy = maintenance.backup(db, to)
    if json:
        print_json({"backup": str(copy), "bytes": copy.stat().st_size})
    else:
        line(copy)


@db_app.command()
def merge(
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Databases to add; they are not changed.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be added, without adding it.")] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Add the runs of other databases. Of two runs with the same key, the shorter one becomes superseded."""
    from dataclasses import asdict

    from ffcli.cli.console import line, message, print_json
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.store.merge import merge as merge_into
    from ffcli.text import counted

    for other in others:
        existing(other)
    found = []
    with open_store(db, create=not dry_run) as store:
        for other in others:
            merged = merge_into(store, other, dry_run=dry_run)
            found.append({"path": other, **asdict(merged), "dry_run": dry_run})
            if json:
                continue
            for notice in merged.notices:
                message(notice)
            line(
                (f"{other}: " if len(others) > 1 else "")
                + ("would add " if dry_run else "added ")
                + f"{counted(merged.taken, 'run')} (already stored: {merged.already_here},"
                f" extended: {merged.extended}),"
                f" {counted(merged.epochs, 'epoch')}, {counted(merged.files, 'file')};"
                f" {counted(merged.superseded, 'run')} superseded"
                + (f"; {merged.left_out} omitted" if merged.left_out else "")
            )
    if json:
        print_json(found)


@db_app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT on the views runs, epochs and cells.")],
    format: Annotated[
        Literal["table", "csv", "json"] | None, typer.Option(help="Format of the output.", show_default="table")
    ] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Print the result of a SELECT. The database is opened without the right to write."""
    from ffcli.cli.console import print_document, print_json
    from ffcli.errors import BadOption
    from ffcli.report.sheet import Document
    from ffcli.store.database import open_to_read
    from ffcli.store.query import query as answer_of

    if json and format not in (None, "json"):
        raise BadOption(f"--json and --format {format} contradict each other: leave out one of them")
    with open_to_read(db, read_only=True) as store:
        answer = answer_of(store, sql)
    if json or format == "json":
        print_json([dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows])
    elif format == "csv":
        _print_csv(answer)
    else:
        print_document(Document((_sheet(answer),)))


def _sheet(answer: Answer) -> Any:
    from ffcli.report.sheet import make_list

    lines = [{name: _text(value) for name, value in zip(answer.columns, row, strict=True)} for row in answer.rows]
    numbers = [
        name
        for place, name in enumerate(answer.columns)
        if all(isinstance(row[place], int | float | None) for row in answer.rows)
    ]
    return make_list([answer.columns], {"": lines}, right=numbers)


def _print_csv(answer: Answer) -> None:
    import csv
    import sys

    from ffcli.text import csv_value

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(csv_value, answer.columns))
    writer.writerows([csv_value(_plain(value)) for value in row] for row in answer.rows)


def _text(value: Any) -> str:
    """Return a value as it appears in a table."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value for text formats: bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else value
