"""`ff db`: path, upgrade, check, backup and merge of databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.commands import Group

db_app = typer.Typer(cls=Group, no_args_is_help=True, help="Manage the database: path, upgrade, check, backup, merge.")

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
    other: Annotated[str, typer.Argument(help="Database whose runs are added; it is not changed.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be added, without adding it.")] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Add the runs of another database. Of two runs with the same key, the shorter one becomes superseded."""
    from dataclasses import asdict

    from ffcli.cli.console import line, message, print_json
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.store.merge import merge as merge_into
    from ffcli.text import counted

    existing(other)
    with open_store(db, create=not dry_run) as store:
        merged = merge_into(store, other, dry_run=dry_run)
    if json:
        print_json(asdict(merged) | {"dry_run": dry_run})
        return
    for notice in merged.notices:
        message(notice)
    line(
        ("would add " if dry_run else "added ")
        + f"{counted(merged.taken, 'run')} (already stored: {merged.already_here}, extended: {merged.extended}),"
        f" {counted(merged.epochs, 'epoch')}, {counted(merged.files, 'file')};"
        f" {counted(merged.superseded, 'run')} superseded" + (f"; {merged.left_out} omitted" if merged.left_out else "")
    )
