"""Migrations alone define the schema: one head, up and down, no drift, and an upgrade loses no row."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text, update
from store_helpers import in_processes, make_config, make_epoch, upgrade

from ffcli.errors import BadDatabase
from ffcli.store import claims, migrate, outcomes, runs
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.liveness import this_process
from ffcli.store.runs import Filters
from ffcli.store.sqlite import engine_for
from ffcli.store.tables import METADATA, RUN

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"

def upgrade():
    with op.batch_alter_table("run") as batch:
        batch.add_column(sa.Column("laboratory", sa.Text(), nullable=True))
        batch.alter_column("note", new_column_name="remark")
    {more}

def downgrade():
    pass
"""


@pytest.fixture
def newer_program(tmp_path: Path) -> Path:
    return program_with_next(tmp_path / "migrations", more="")


def program_with_next(folder: Path, more: str) -> Path:
    """The migrations of a later program: ours and one that rebuilds the parent table."""
    shutil.copytree(migrate.migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "next.py").write_text(NEXT.format(head=migrate.HEAD, more=more))
    return folder


@pytest.fixture
def filled(store: Store) -> Path:
    """Create a database with 3 runs of 4 epochs."""
    for seed in range(3):
        claim = claims.claim(store, make_config(seed=seed), owner=this_process(), note="kept")
        for epoch in range(4):
            claims.record_epoch(store, claim, make_epoch(epoch))
    store.close()
    return store.path


def count(path: Path, what: str) -> int:
    connection = sqlite3.connect(path)
    number: int = connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
    connection.close()
    return number


def test_head_is_the_only_newest_revision() -> None:
    scripts = ScriptDirectory(str(migrate.migrations_folder()))
    assert scripts.get_heads() == [migrate.HEAD]


def test_tables_equal_the_migrated_schema(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_every_constraint_has_a_name(store: Store) -> None:
    with reading(store) as connection:
        tables = connection.scalars(
            text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'")
        )
        for sql in tables:
            constraints = re.findall(r"(CONSTRAINT \w+ )?(PRIMARY KEY|FOREIGN KEY|UNIQUE|CHECK)", sql)
            assert constraints
            assert all(name for name, _ in constraints), sql


def test_migrations_run_down_and_up(store: Store) -> None:
    engine = engine_for(store.path, foreign_keys=False)
    for target, tables in (("base", {"alembic_version"}), ("head", {"alembic_version", *METADATA.tables})):
        with engine.begin() as connection:
            migrate.run_migrations(connection, target=target)
        with engine.begin() as connection:
            found = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars()
            assert set(found) == tables
    engine.dispose()


def test_upgrade_keeps_all_rows_and_a_backup(filled: Path, newer_program: Path) -> None:
    earlier = filled.with_name(f"runs.db.{migrate.HEAD}.bak")
    earlier.write_bytes(b"an earlier backup")
    done = migrate.upgrade(filled, folder=newer_program)
    assert done is not None
    assert (done.old, done.new) == (migrate.HEAD, "next")
    assert count(filled, "run WHERE remark = 'kept' AND laboratory IS NULL") == 3
    assert count(filled, "epoch") == 12
    assert earlier.read_bytes() == b"an earlier backup"
    assert done.backup is not None
    assert count(done.backup, "run WHERE note = 'kept'") == 3
    assert count(done.backup, "epoch") == 12
    with pytest.raises(BadDatabase, match="newer than this program"):
        open_store(filled)


def test_opening_upgrades_a_database_of_the_first_revision(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    engine = engine_for(path, foreign_keys=False)
    with engine.begin() as connection:
        migrate.run_migrations(connection, target="0001")
        config = make_config()
        row: dict[str, Any] = {
            "id": "a" * 32,
            "key": config.key,
            "status": "completed",
            "tags": '["first"]',
            "provenance": "[]",
        }
        row |= {"config": config.model_dump_json(), "dataset": "mnist", "data_source": "full", "negatives": "label"}
        row |= {"pos_phase": 1, "neg_phase": 1, "preset": "fast@1", "seed": 0, "epochs_requested": 20, "epochs_done": 3}
        row |= {"started": "2026-01-01 00:00:00.000000", "host": "lab", "pid": 1, "pid_started": 0.0, "seconds": 4.5}
        connection.execute(text(f"INSERT INTO run ({', '.join(row)}) VALUES ({', '.join(f':{n}' for n in row)})"), row)
        for epoch in range(1, 4):
            columns = "run_id, epoch, hour, accuracy, goodness_positive, goodness_negative, dead_units, seconds"
            values = f"'{row['id']}', {epoch}, {118 * epoch}, {20.5 * epoch}, '[1.5, 2.5]', '[0, 1]', '[0, 0]', 1.5"
            connection.execute(text(f"INSERT INTO epoch ({columns}) VALUES ({values})"))
    engine.dispose()
    with open_store(path) as store:
        assert store.upgraded == migrate.Upgrade("0001", migrate.HEAD, tmp_path / "runs.db.0001.bak")
        run = runs.get(store, "a")
        assert (run.config, run.tags, run.epochs_done, run.best_accuracy) == (config, ("first",), 3, None)
        assert [(e.epoch, e.accuracy, e.goodness_positive) for e in runs.epochs(store, run.id)] == [
            (epoch, 20.5 * epoch, (1.5, 2.5)) for epoch in range(1, 4)
        ]
        [outcome] = outcomes.outcomes(store, 3, outcomes.summaries(store))
        assert (outcome.final, outcome.last5) == (61.5, 41.0)
        with reading(store) as connection:
            indices = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'index'")))
        assert {"ix_epoch_accuracy", "ix_run_started", "uq_run_key_current"} <= indices
    assert count(path.with_name("runs.db.0001.bak"), "epoch") == 3


def at_revision(path: Path, revision: str) -> None:
    """Downgrade a database to an earlier revision."""
    engine = engine_for(path, foreign_keys=False)
    with engine.begin() as connection:
        migrate.run_migrations(connection, target=f"-{int(migrate.HEAD) - int(revision)}")
    engine.dispose()


FAILURES = (
    ("failed", "diverged in epoch 1, layer 2", "diverged"),
    ("failed", "worker 5 was killed by signal 9", "error"),
    ("superseded", "diverged in epoch 3, layer 1", "diverged"),
    ("interrupted", "Ctrl-C", None),
    ("completed", None, None),
)


@pytest.fixture
def revision_0004(store: Store) -> Path:
    """Create a database of revision 0004, which recognised a divergence by the message."""
    at_revision(store.path, "0004")
    with sqlite3.connect(store.path) as bare:
        for seed, (status, failure, _) in enumerate(FAILURES):
            config = make_config(seed=seed)
            row = {
                "id": f"{seed:032x}", "key": config.key, "status": status, "failure": failure, "tags": "[]",
                "provenance": "[]", "config": config.model_dump_json(), "dataset": "mnist", "data_source": "full",
                "negatives": "label", "pos_phase": 1, "neg_phase": 1, "preset": "fast@1", "seed": seed,
                "epochs_requested": 20, "epochs_done": 0, "started": "2026-01-01 00:00:00.000000", "host": "lab",
                "pid": 1, "pid_started": 0.0, "seconds": 4.5,
            }  # fmt: skip
            bare.execute(f"INSERT INTO run ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", row)
    bare.close()
    return store.path


def test_failure_kind_of_older_runs_is_derived_from_the_message(revision_0004: Path) -> None:
    everything = Filters(include_superseded=True)
    before = revision_0004.read_bytes()
    with open_store(revision_0004, create=False) as reader:
        found = {int(run.id, 16): run for run in runs.list_runs(reader, everything)}
    assert {seed: run.failure_kind for seed, run in found.items()} == {n: kind for n, (*_, kind) in enumerate(FAILURES)}
    assert [seed for seed, run in found.items() if run.diverged] == [0]
    assert revision_0004.read_bytes() == before
    with open_store(revision_0004) as writer:
        assert writer.upgraded is not None
        assert {int(run.id, 16): run for run in runs.list_runs(writer, everything)} == found
        with pytest.raises(BadDatabase, match="failure_kind"), writing(writer) as connection:
            connection.execute(update(RUN).values(failure_kind="bad luck"))
    at_revision(revision_0004, "0004")
    assert count(revision_0004, "run WHERE failure LIKE 'diverged%'") == 2


def test_older_read_only_database_can_be_read(revision_0004: Path, read_only_folder: Path) -> None:
    shutil.copy(revision_0004, read_only_folder.with_name("open") / "runs.db")
    with open_store(read_only_folder / "runs.db", create=False) as reader:
        assert len(runs.list_runs(reader, Filters(status="failed"))) == 2
        with pytest.raises(BadDatabase, match="read-only"):
            runs.delete(reader, ["0" * 31 + "4"])
    with pytest.raises(BadDatabase, match="read-only and at revision 0004"):
        open_store(read_only_folder / "runs.db")


def test_eight_processes_can_upgrade_at_once(filled: Path, newer_program: Path) -> None:
    in_processes(8, upgrade, filled, newer_program)
    assert count(filled, "epoch") == 12
    assert count(filled, "alembic_version WHERE version_num = 'next'") == 1
    assert len(list(filled.parent.glob("*.bak"))) == 1
    assert not list(filled.parent.glob("*.tmp"))


@pytest.mark.parametrize("more", ["op.execute('DELETE FROM run WHERE seed = 0')", "raise RuntimeError('halfway')"])
def test_failed_upgrade_is_undone(filled: Path, tmp_path: Path, more: str) -> None:
    folder = program_with_next(tmp_path / "broken", more)
    with pytest.raises((BadDatabase, RuntimeError), match=r"lose their parent|halfway"):
        migrate.upgrade(filled, folder=folder)
    assert migrate.stored_revision(filled, read_only=False) == migrate.HEAD
    assert count(filled, "run WHERE note = 'kept'") == 3
    assert count(filled, "epoch") == 12


def test_newer_database_is_refused_and_left_unchanged(filled: Path, newer_program: Path) -> None:
    migrate.upgrade(filled, folder=newer_program)
    before = filled.read_bytes()
    names = {p.name for p in filled.parent.iterdir()}
    with pytest.raises(BadDatabase, match="newer"):
        migrate.upgrade(filled)
    assert filled.read_bytes() == before
    assert {p.name for p in filled.parent.iterdir()} == names
