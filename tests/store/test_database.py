"""Opening a database: what is created, what is refused, and concurrent processes."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from store_helpers import in_processes, make_config, make_epoch, open_and_claim, record_a_run

from ffcli.errors import BadDatabase, BadOption, FFError, StorageFull, StoreBusy
from ffcli.store import claims, runs
from ffcli.store.database import Store, open_store, reading
from ffcli.store.liveness import this_process
from ffcli.store.location import database_path, locate
from ffcli.store.migrate import HEAD


def with_one_run(path: Path) -> str:
    """Create a database with a finished run; return the run's key."""
    config = make_config(epochs=1)
    with open_store(path) as store:
        claim = claims.claim(store, config, owner=this_process())
        claims.record_epoch(store, claim, make_epoch(1))
        claims.finish(store, claim)
    return config.key


def test_paths_and_urls_select_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a b.db"
    for db in (file, "a b.db", f"sqlite:///{file}", "sqlite:///a b.db", f"sqlite:///file:{tmp_path}/a%20b.db?uri=true"):
        assert database_path(db) == file
    assert locate(f"sqlite:///{file}?mode=ro&uri=true").mode_ro


@pytest.mark.parametrize(
    ("db", "message"),
    [
        ("postgresql://host/runs", "give a path"),
        ("mysql://host/runs", "give a path"),
        ("sqlite://runs.db", "three slashes"),
        ("sqlite://", "three slashes"),
        ("sqlite:///:memory:", "in-memory"),
        (":memory:", "in-memory"),
        ("", "in-memory"),
        ("sqlite:///runs.db?cache=shared", "unknown option 'cache'"),
    ],
)
def test_other_databases_are_refused(db: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        open_store(db)


def test_default_database_creates_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "new"))
    with open_store() as store:
        assert store.path == tmp_path / "new" / "ffcli" / "ffcli.db"
        assert store.path.is_file()


def test_reading_a_missing_database_creates_none(tmp_path: Path) -> None:
    with open_store(tmp_path / "runs.db", create=False) as store:
        assert runs.list_runs(store) == []
        assert runs.find(store, "0" * 64) is None
    assert list(tmp_path.iterdir()) == []


def test_every_connection_has_the_pragmas(store: Store) -> None:
    with reading(store) as connection:
        values = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, but a text of some length\n" * 100)


def folder(path: Path) -> None:
    path.mkdir()


def truncated(path: Path) -> None:
    with_one_run(path)
    path.write_bytes(path.read_bytes()[:-5000])


def of_a_later_schema_format(path: Path) -> None:
    with_one_run(path)
    content = bytearray(path.read_bytes())
    content[44:48] = (9).to_bytes(4, "big")  # SQLite knows the formats 1 to 4
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def newer(path: Path) -> None:
    with_one_run(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def without_its_tables(path: Path) -> None:
    with_one_run(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE run")
    connection.close()


def set_back(path: Path) -> None:
    with_one_run(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()


def with_a_foreign_trigger(path: Path) -> None:
    with_one_run(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER foreign_trigger BEFORE INSERT ON run BEGIN SELECT RAISE(ABORT, 'no'); END")
    connection.close()


def list_and_claim(path: Path) -> None:
    with open_store(path) as store:
        runs.list_runs(store)
        claims.claim(store, make_config(seed=1), owner=this_process())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_back, "damaged or was changed by another program"),
        (with_a_foreign_trigger, "damaged or was changed by another program: no"),
        (garbage, "is not a database"),
        (folder, "is a folder"),
        (truncated, "damaged"),
        (of_a_later_schema_format, "damaged or was changed by another program: unsupported file format"),
        (of_another_program, "other tables"),
        (newer, f"newer than this program .*9999.*{HEAD}"),
        (without_its_tables, "damaged"),
    ],
)
def test_bad_databases_are_refused_in_one_line_and_left_unchanged(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "runs.db"
    damage(path)  # type: ignore[operator]
    before = contents(tmp_path)
    with pytest.raises(BadDatabase, match=message) as caught:
        list_and_claim(path)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


def test_missing_folder_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match="create it"):
        open_store(tmp_path / "missing" / "runs.db")
    assert not (tmp_path / "missing").exists()


def test_permanent_lock_raises_store_busy(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with_one_run(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with open_store(path, timeout=0.1) as store:
        assert len(runs.list_runs(store)) == 1
        with pytest.raises(StoreBusy, match="locked by another process"):
            claims.claim(store, make_config(seed=1), owner=this_process())
    holder.close()


def test_new_database_waits_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreBusy):
        open_store(path, timeout=0.1)
    holder.close()
    open_store(path).close()


def can_read_but_not_write(db: str | Path, key: str) -> None:
    with open_store(db) as store:
        found = runs.find(store, key)
        assert found is not None
        assert runs.epochs(store, found.id) == [make_epoch(1)]
        with pytest.raises(BadDatabase, match="read-only"):
            claims.claim(store, make_config(seed=1), owner=this_process())


def test_url_can_request_read_only_access(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    can_read_but_not_write(f"sqlite:///{path}?mode=ro", with_one_run(path))
    with pytest.raises(BadDatabase, match="mode=ro does not create"):
        open_store(f"sqlite:///{tmp_path}/new.db?mode=ro")


def test_read_only_file_system_can_be_read(tmp_path: Path, read_only_folder: Path) -> None:
    can_read_but_not_write(read_only_folder / "runs.db", with_one_run(tmp_path / "open" / "runs.db"))
    with pytest.raises(BadDatabase, match="read"):
        open_store(read_only_folder / "new.db")
    (tmp_path / "open" / "empty.db").touch()
    with pytest.raises(BadDatabase, match="read-only and at revision none"):
        open_store(read_only_folder / "empty.db")


def fill(disk: Path) -> Path:
    """Use all remaining space; return the file that occupies it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def record_many(store: Store, claim: claims.Claim) -> None:
    for epoch in range(2, 500):
        claims.record_epoch(store, claim, make_epoch(epoch))


def test_full_disk_keeps_everything_written_before(tiny_disk: Path) -> None:
    with open_store(tiny_disk / "runs.db") as store:
        claim = claims.claim(store, make_config(), owner=this_process())
        claims.record_epoch(store, claim, make_epoch(1))
        ballast = fill(tiny_disk)
        with pytest.raises(StorageFull, match="no space left"):
            record_many(store, claim)
        written = runs.epochs(store, claim.run_id)
        assert runs.get(store, claim.run_id).epochs_done == written[-1].epoch
        ballast.unlink()
        claims.record_epoch(store, claim, make_epoch(written[-1].epoch + 1))


def test_opening_a_database_on_a_full_disk(tiny_disk: Path) -> None:
    key = with_one_run(tiny_disk / "runs.db")
    ballast = fill(tiny_disk)
    with pytest.raises(StorageFull):
        open_store(tiny_disk / "new.db")
    with pytest.raises(StorageFull), open_store(tiny_disk / "runs.db") as store:
        runs.find(store, key)
    ballast.unlink()
    with open_store(tiny_disk / "runs.db") as store:
        assert runs.find(store, key) is not None


def test_eight_processes_can_create_a_database_at_once(tmp_path: Path) -> None:
    for attempt in range(3):
        path = tmp_path / f"{attempt}.db"
        in_processes(8, open_and_claim, path)
        with open_store(path) as store:
            assert store.upgraded is None
            assert {run.config.seed for run in runs.list_runs(store)} == set(range(8))


def test_eight_processes_can_write_at_once(store: Store) -> None:
    store.close()
    in_processes(8, record_a_run, store.path, 30)
    assert [run.epochs_done for run in runs.list_runs(store)] == [30] * 8


def test_impossible_file_name_raises_an_ffcli_error(tmp_path: Path) -> None:
    """A file name that no file system accepts."""
    with pytest.raises(FFError):
        open_store(tmp_path / ("x" * 300))
