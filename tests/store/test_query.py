"""Queries of the user: they can read the views and do nothing else."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import text
from store_helpers import make_config, make_epoch
from typer.testing import CliRunner

from ffcli.cli.db import db_app
from ffcli.errors import BadDatabase, BadOption
from ffcli.store import claims, migrate
from ffcli.store.database import Store, open_store, open_to_read
from ffcli.store.liveness import this_process
from ffcli.store.query import VIEWS, Answer, query
from ffcli.store.sqlite import engine_for

DOCS = Path(__file__).parents[2] / "docs" / "analysis.md"


@pytest.fixture
def db(store: Store) -> Path:
    """Create a database with two completed runs of one cell, and one that still runs."""
    for seed in range(3):
        claim = claims.claim(store, make_config(seed=seed), owner=this_process(), tags=("=1+1",))
        for epoch in range(3):
            claims.record_epoch(store, claim, make_epoch(epoch, accuracy=10.0 * epoch + seed))
        if seed < 2:
            claims.finish(store, claim)
    store.close()
    return store.path


def ask(db: Path, sql: str) -> Answer:
    with open_to_read(db, read_only=True) as store:
        return query(store, sql)


def test_views_show_runs_epochs_and_cells(db: Path) -> None:
    config = make_config()
    assert ask(db, "SELECT seed, status, best_accuracy, lr, cure, chance FROM runs ORDER BY seed").rows == [
        (seed, status, 20.0 + seed, config.lr, "none", config.chance)
        for seed, status in enumerate(("completed", "completed", "running"))
    ]
    assert ask(db, "SELECT epoch, sum(accuracy) FROM epochs GROUP BY epoch").rows == [(0, 3.0), (1, 33.0), (2, 63.0)]
    [cell] = ask(db, "SELECT runs, epochs_done, final_mean, best_min, best_max FROM cells").rows
    assert cell == (2, 2, 20.5, 20.0, 21.0)
    assert ask(db, "SELECT 1 AS a, 2 AS a").columns == ["a", "a:2"]


def test_columns_are_those_of_the_documentation(db: Path) -> None:
    described = DOCS.read_text(encoding="utf-8")
    for view in VIEWS:
        section = described.partition(f"### `{view}`")[2].partition("\n#")[0]
        table = [line for line in section.splitlines() if line.startswith("| `")]
        documented = [name.strip(" `") for line in table for name in line.split("|")[1].split(",")]
        assert documented == ask(db, f"SELECT * FROM {view}").columns, view


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM run", "only SELECT is allowed"),
        ("WITH a AS (SELECT 1) DELETE FROM epoch", "only SELECT is allowed"),
        ("DROP VIEW runs", "only SELECT is allowed"),
        ("CREATE TEMP TABLE mine (a)", "only SELECT is allowed"),
        ("PRAGMA query_only = OFF", "only SELECT is allowed"),
        ("ATTACH 'other.db' AS other", "only SELECT is allowed"),
        ("COMMIT", "only SELECT is allowed"),
        ("SELECT load_extension('evil')", "only SELECT is allowed"),
        ("VACUUM INTO 'copy.db'", "VACUUM"),
        ("SELECT 1; DELETE FROM run", "several statements"),
        ("SELECT ?", "parameters"),
        ("-- nothing", "empty"),
        ("SELECT nope FROM runs", "no such column: nope"),
        ("SELECT * FROM run_s", "there are the views runs, epochs, cells"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_what_is_no_select_is_refused_and_changes_nothing(
    db: Path, sql: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(db.parent)
    before, files = hashlib.sha256(db.read_bytes()).digest(), {path.name for path in db.parent.iterdir()}
    with pytest.raises(BadOption, match=reason):
        ask(db, sql)
    assert hashlib.sha256(db.read_bytes()).digest() == before
    added = {path.name for path in db.parent.iterdir()} - files
    assert added <= {"runs.db-shm", "runs.db-wal"}


def test_an_endless_query_ends_with_ctrl_c(db: Path) -> None:
    timer = Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ask(db, "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n")
    timer.join()


def test_store_of_queries_cannot_write(db: Path) -> None:
    with (
        open_to_read(db, read_only=True) as store,
        store.engine.begin() as connection,
        pytest.raises(Exception, match="readonly"),
    ):
        connection.execute(text("DELETE FROM run"))


def test_older_database_is_queried_without_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = engine_for(path, foreign_keys=False)
    with engine.begin() as connection:
        migrate.run_migrations(connection, target="0007")
    engine.dispose()
    assert ask(path, "SELECT count(*) FROM cells").rows == [(0,)]
    assert migrate.stored_revision(path, read_only=True) == "0007"
    with pytest.raises(BadDatabase):
        ask(tmp_path / "none.db", "SELECT 1")


def test_a_run_with_a_damaged_config_does_not_hide_the_others(db: Path) -> None:
    with closing(sqlite3.connect(db)) as driver, driver:
        driver.execute("UPDATE run SET config = '{' WHERE seed = 0")
    assert ask(db, "SELECT seed, lr IS NULL FROM runs ORDER BY seed").rows == [(0, 1), (1, 0), (2, 0)]


def test_migrations_keep_the_views_of_the_user(db: Path) -> None:
    create = "CREATE VIEW mine AS SELECT count(*) AS number FROM runs"
    with closing(sqlite3.connect(db)) as driver, driver:
        driver.execute(create)
    engine = engine_for(db, foreign_keys=False)
    for target, views in (("-1", []), ("head", [*VIEWS])):
        with engine.begin() as connection:
            migrate.run_migrations(connection, target=target)
            found = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'view'")).scalars()
            assert sorted(found) == sorted(views)
    with engine.begin() as connection:
        connection.execute(text(create))
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
        migrate.run_migrations(connection)
    engine.dispose()
    with open_store(db) as store:
        assert query(store, "SELECT number FROM mine").rows == [(3,)]


def test_formats_of_the_command(db: Path) -> None:
    def printed(*arguments: str) -> str:
        sql = "SELECT seed, best_accuracy / 3 AS third, note, tags, '=1+1' AS formula FROM runs WHERE seed = 1"
        result = CliRunner().invoke(db_app, ["query", sql, *arguments], env={"FFCLI_DB": str(db)})
        assert result.exit_code == 0, result.exception
        return result.stdout

    assert printed("--format", "csv") == 'seed,third,note,tags,formula\n1,7.0,,"[""=1+1""]",\'=1+1\n'
    assert printed("--json") == printed("--format", "json")
    assert '"third": 7.0' in printed("--json")
    head, row = printed().splitlines()[:2]
    assert (head.split(), row.split()) == (["seed", "third", "note", "tags", "formula"], ["1", "7", '["=1+1"]', "=1+1"])
