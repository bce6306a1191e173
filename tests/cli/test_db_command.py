"""`ff db`: output and exit codes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ffcli.cli.db import db_app
from ffcli.config import DataRef
from ffcli.errors import BadDatabase
from ffcli.planning import resolve
from ffcli.records import EpochMetrics
from ffcli.settings import Settings
from ffcli.store import claims
from ffcli.store.database import open_store
from ffcli.store.liveness import this_process
from ffcli.store.migrate import HEAD

DATA = DataRef(
    name="mnist", source="full", fingerprint="f" * 64, features=784, classes=10, train=60_000, test=10_000,
    largest_class=11.35,
)  # fmt: skip
EPOCH = EpochMetrics(1, 118, "positive", 50.0, None, None, None, None, None, None, seconds=1.0)


def ff_db(*arguments: str | Path, db: Path) -> Result:
    return CliRunner().invoke(db_app, [str(a) for a in arguments], env={"FFCLI_DB": str(db)})


@pytest.fixture
def db(tmp_path: Path) -> Path:
    open_store(tmp_path / "runs.db").close()
    return tmp_path / "runs.db"


def test_path_creates_no_file(tmp_path: Path) -> None:
    missing = tmp_path / "runs.db"
    assert ff_db("path", db=missing).stdout == f"{missing}\n"
    assert json.loads(ff_db("path", "--json", db=missing).stdout) == {"path": str(missing), "exists": False}
    assert ff_db("path", "--db", f"sqlite:///{missing}", db=tmp_path / "other.db").stdout == f"{missing}\n"
    assert not missing.exists()


def test_upgrade_prints_the_schema_revision(db: Path) -> None:
    assert f"is at {HEAD}" in ff_db("upgrade", db=db).stdout
    empty = db.with_name("empty.db")
    empty.touch()
    shown = json.loads(ff_db("upgrade", "--json", db=empty).stdout)
    assert shown == {"path": str(empty), "from": None, "to": HEAD, "backup": None}


def test_check_accepts_a_sound_database(db: Path) -> None:
    result = ff_db("check", db=db)
    assert result.exit_code == 0
    assert "sound" in result.stdout
    shown = json.loads(ff_db("check", "--json", db=db).stdout)
    assert (shown["ok"], shown["revision"], shown["runs"], shown["problems"]) == (True, HEAD, 0, [])


def test_check_finds_orphaned_rows(db: Path) -> None:
    connection = sqlite3.connect(db)
    connection.execute("INSERT INTO epoch (run_id, epoch, hour, seconds) VALUES ('none', 1, 118, 1.0)")
    connection.commit()
    connection.close()
    result = ff_db("check", db=db)
    assert result.exit_code == 1
    assert "damaged" in result.stdout
    assert "without a parent" in result.stderr


@pytest.mark.parametrize(("revision", "message"), [("9999", "newer than this program"), ("0001", "already exists")])
def test_check_does_not_accept_another_schema_than_the_stored_revision(db: Path, revision: str, message: str) -> None:
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()
    result = ff_db("check", db=db)
    assert result.exit_code == 1
    assert "sound" not in result.stdout
    assert message in f"{result.stderr}{result.exception}"


def test_backup_into_a_read_only_folder_names_the_copy(db: Path, read_only_folder: Path) -> None:
    copy = read_only_folder / "copy.db"
    assert str(ff_db("backup", copy, db=db).exception) == f"{copy} cannot be written: read-only file system"


def test_backup_is_a_valid_database_and_overwrites_nothing(db: Path) -> None:
    copy = db.with_name("copy.db")
    assert ff_db("backup", copy, db=db).stdout == f"{copy}\n"
    assert ff_db("check", db=copy).exit_code == 0
    again = ff_db("backup", copy, db=db)
    assert isinstance(again.exception, BadDatabase)
    assert "exists already" in str(again.exception)
    beside = Path(json.loads(ff_db("backup", "--json", db=db).stdout)["backup"])
    assert beside.parent == db.parent
    assert beside.read_bytes() == copy.read_bytes()


@pytest.mark.parametrize("command", ["upgrade", "check", "backup"])
def test_missing_database_is_not_created(tmp_path: Path, command: str) -> None:
    result = ff_db(command, db=tmp_path / "runs.db")
    assert isinstance(result.exception, BadDatabase)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_command_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'sqlalchemy', 'alembic', 'numpy', 'pydantic'}"
    program = f"import sys, ffcli.cli.db; assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_store_loads_neither_torch_nor_alembic_at_the_newest_revision(db: Path) -> None:
    program = (
        "import sys; from ffcli.store import claims, maintenance, outcomes, runs, states, database\n"
        "with database.open_store(sys.argv[1]) as store:\n"
        "    assert outcomes.summaries(store) == outcomes.outcomes(store, 20, []) == runs.list_runs(store) == []\n"
        "assert not {'torch', 'alembic'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program, str(db)], check=True)


def test_merge_shows_what_it_adds(db: Path) -> None:
    other = db.with_name("other.db")
    with open_store(other) as store:
        for seed in range(2):
            claim = claims.claim(store, resolve(Settings(seed=seed), DATA), owner=this_process())
            claims.record_epoch(store, claim, EPOCH)
            claims.finish(store, claim)
    counts = {"taken": 2, "extended": 0, "already_here": 0, "left_out": 0, "superseded": 0, "epochs": 2, "files": 0}
    [planned] = json.loads(ff_db("merge", other, "--dry-run", "--json", db=db).stdout)
    assert planned == counts | {"path": str(other), "notices": [], "dry_run": True}
    assert "would add 2 runs" in ff_db("merge", other, "--dry-run", db=db).stdout
    assert "added 2 runs" in ff_db("merge", other, db=db).stdout
    [again] = json.loads(ff_db("merge", other, "--json", db=db).stdout)
    assert (again["taken"], again["already_here"], again["dry_run"]) == (0, 2, False)


def test_dry_merge_creates_no_database(db: Path) -> None:
    new = db.with_name("new.db")
    assert "would add 0 runs" in ff_db("merge", db, "--dry-run", db=new).stdout
    assert not new.exists()
    assert isinstance(ff_db("merge", db, db=db).exception, BadDatabase)
