"""Looking up, listing and deleting."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text, update
from store_helpers import DATA, make_config, make_epoch

from ffcli.errors import BadDatabase, BadOption, DamagedRun, NoSuchRun, RunBusy
from ffcli.records import RunSummary
from ffcli.store import claims, maintenance, outcomes, runs, states
from ffcli.store.database import Store, open_to_read, writing
from ffcli.store.liveness import this_process, utc_now
from ffcli.store.mapping import write_epochs
from ffcli.store.runs import Filters
from ffcli.store.tables import RUN

ME = this_process()


def add(store: Store, *, epochs: int = 1, accuracy: float = 50.0, tags: tuple[str, ...] = (), **options: Any) -> str:
    """Add a completed run; return its id."""
    claim = claims.claim(store, make_config(**options), owner=ME, tags=tags)
    for epoch in range(1, epochs + 1):
        claims.record_epoch(store, claim, make_epoch(epoch, accuracy))
    claims.finish(store, claim)
    return claim.run_id


def rename(store: Store, old: str, new: str) -> str:
    """Replace the id of a run without epochs."""
    with writing(store) as connection:
        connection.execute(update(RUN).where(RUN.c.id == old).values(id=new))
    return new


def test_filters_and_orders(store: Store) -> None:
    plain = add(store, accuracy=10.0)
    masks = add(store, neg="masks", pos_phase=16, accuracy=90.0, tags=("night", "ü"))
    fashion = add(store, data=replace_data("fashion"), unseparated=True, epochs=3)
    paper = add(store, preset="paper", tags=("night",), cure="replay")
    running = claims.claim(store, make_config(seed=5), owner=ME).run_id

    def ids(**filters: object) -> list[str]:
        return [run.id for run in runs.list_runs(store, Filters(**filters))]  # type: ignore[arg-type]

    assert ids() == [running, paper, fashion, masks, plain]
    assert ids(limit=2) == [running, paper]
    assert ids(dataset="fashion") == [fashion]
    assert ids(negatives="masks") == ids(pos_phase=16) == ids(sort="best", limit=1) == [masks]
    assert ids(pos_phase=0) == [fashion]
    assert ids(dataset="mnist") == [running, paper, masks, plain]
    assert ids(preset="paper@1") == ids(preset="paper") == ids(cure="replay:512") == [paper]
    assert ids(preset="fast") == [running, fashion, masks, plain]
    assert ids(preset="custom") == []
    assert ids(cure="none") == [running, fashion, masks, plain]
    assert ids(tag="night") == [paper, masks]
    assert ids(tag="night", limit=1) == [paper]
    assert ids(tag="ü") == [masks]
    assert ids(tag="nigh") == []
    assert ids(status="running") == [running]
    assert ids(status="completed", limit=3) == [paper, fashion, masks]
    assert ids(sort="epochs")[0] == fashion
    assert ids(sort="best") == [masks, paper, fashion, plain, running]
    assert ids(since=runs.get(store, fashion).started) == [running, paper, fashion]
    assert ids(since=utc_now() + timedelta(hours=1)) == []
    for wrong in ({"status": "complete"}, {"sort": "bets"}):
        with pytest.raises(BadOption, match=r"did you mean 'completed'|did you mean 'best'"):
            ids(**wrong)


def test_run_has_the_preset_of_its_settings_also_if_it_is_older_than_the_preset(store: Store) -> None:
    scaled: dict[str, Any] = {"updates_per_batch": 5, "lr": 0.01, "beta1": 0.348678, "beta2": 0.990045}
    run, other = add(store, **scaled), add(store, **scaled | {"lr": 0.02})
    with writing(store) as connection:
        connection.execute(text("UPDATE run SET config = json_set(config, '$.preset', 'custom')"))
    assert [runs.get(store, id).config.preset for id in (run, other)] == ["scaled@1", "custom"]
    assert [found.id for found in runs.list_runs(store, Filters(preset="scaled@1"))] == [run]
    assert [found.id for found in runs.list_runs(store, Filters(preset="custom"))] == [other]


def replace_data(name: str) -> object:
    return DATA.model_copy(update={"name": name, "fingerprint": name})


def test_filters_use_the_displayed_status(store: Store) -> None:
    claims.claim(store, make_config(), owner=replace(ME, pid_started=0.0))
    assert runs.list_runs(store, Filters(status="running")) == []
    assert len(runs.list_runs(store, Filters(status="interrupted"))) == 1


def test_superseded_runs_are_listed_on_request(store: Store) -> None:
    old = add(store)
    new = claims.claim(store, make_config(), owner=ME, force=True).run_id
    assert [run.id for run in runs.list_runs(store)] == [new]
    assert [run.id for run in runs.list_runs(store, Filters(include_superseded=True))] == [new, old]
    assert [run.id for run in runs.list_runs(store, Filters(status="superseded"))] == [old]


def test_runs_are_found_by_their_short_ids(store: Store) -> None:
    ids = ["abcdef12" + "0" * 24, "abcdef12" + "1" * 24, "abcdef9" + "0" * 25, "f" * 32]
    for seed, id in enumerate(ids):
        rename(store, add(store, seed=seed, epochs=0), id)
    short = runs.short_ids(store, ids)
    assert list(short.values()) == ["abcdef120", "abcdef121", "abcdef9", "fffffff"]
    for id, prefix in short.items():
        assert runs.get(store, prefix.upper()).id == runs.get(store, id).id == id
    with pytest.raises(NoSuchRun, match=r"begins the ids of 2 runs \(abcdef120\w*, abcdef121\w*\)"):
        runs.get(store, "abcdef12")
    for wrong in ("abcdff9", "my run", "", "g", "%"):
        with pytest.raises(NoSuchRun, match="list-runs") as refused:
            runs.get(store, wrong)
        assert not any(id[:7] in str(refused.value) for id in ids), "another run's id is never suggested"


def test_runs_are_found_by_name_and_as_the_last_one(store: Store) -> None:
    with pytest.raises(NoSuchRun, match="no run yet"):
        runs.get(store, "last")
    old = runs.edit(store, add(store, epochs=0), name="night").id
    new = claims.claim(store, make_config(), owner=ME, force=True, name="night").run_id
    other = runs.edit(store, add(store, seed=1, epochs=0), name="bad").id
    assert runs.whole_id(store, "last") == other
    assert runs.whole_id(store, "night") == new, "a superseded run gives way to the current one of its name"
    assert runs.whole_id(store, old) == old
    assert runs.whole_id(store, "bad") == other
    rename(store, add(store, seed=2, epochs=0), "bad" + "0" * 29)
    with pytest.raises(NoSuchRun, match=r"'bad' names or begins the id of 2 runs \(.*bad0000"):
        runs.get(store, "bad")
    runs.edit(store, other, name="night")
    with pytest.raises(NoSuchRun, match=r"'night' is the name of 2 runs .*give an id"):
        runs.get(store, "night")


def test_editing_replaces_and_removes_labels(store: Store) -> None:
    id = add(store, epochs=0, tags=("x", "y"))
    runs.edit(store, id, name="a b", note="n")
    edited = runs.edit(store, "a b", tags=["z", "z"])
    assert (edited.name, edited.tags, edited.note) == ("a b", ("z",), "n")
    runs.edit(store, id, name="", tags=[], note="new")
    assert (runs.get(store, id).name, runs.get(store, id).tags, runs.get(store, id).note) == (None, (), "new")


def test_deleting_a_run_deletes_its_epochs_and_files(store: Store) -> None:
    gone, kept = add(store, epochs=3), add(store, seed=1, epochs=2)
    for id in (gone, kept):
        states.save(states.weights_path(store, id), {"w": np.zeros(3)}, key="k", epoch=3)
    assert runs.delete(store, [gone[:10], gone]) == [gone]
    assert runs.epochs(store, gone) == []
    assert len(runs.epochs(store, kept)) == 2
    assert [path.name for path in states.states_folder(store).iterdir()] == [states.weights_path(store, kept).name]
    running = claims.claim(store, make_config(seed=2), owner=ME)
    with pytest.raises(RunBusy):
        runs.delete(store, [kept, running.run_id])
    assert len(runs.epochs(store, kept)) == 2
    assert states.weights_path(store, kept).exists()


def test_prune_deletes_unneeded_runs_and_files(store: Store) -> None:
    superseded = add(store, epochs=2)
    finished = add_forced(store)
    unfinished = claims.claim(store, make_config(seed=1), owner=replace(ME, pid_started=0.0)).run_id
    running = claims.claim(store, make_config(seed=2), owner=ME).run_id
    for id in (superseded, finished, unfinished, running, "0" * 32):
        for path in (states.state_path(store, id), states.weights_path(store, id)):
            states.save(path, {"w": np.zeros(1000)}, key="k", epoch=1)
        states.state_path(store, id).with_suffix(".safetensors.0123.tmp").write_bytes(b"half")
    damaged = states.set_aside(states.state_path(store, unfinished))
    states.save(states.state_path(store, unfinished), {"w": np.zeros(1000)}, key="k", epoch=1)
    unrelated = states.states_folder(store) / "notes.txt"
    unrelated.touch()
    freed = maintenance.prune(store)
    assert (freed.runs, freed.files) == (1, 3 + 2 + 1 + 3)
    assert freed.bytes > 5 * 8000
    assert set(states.states_folder(store).iterdir()) == {
        states.weights_path(store, finished),
        states.weights_path(store, unfinished),
        states.state_path(store, unfinished),
        damaged,
        states.weights_path(store, running),
        states.state_path(store, running),
        states.state_path(store, running).with_suffix(".safetensors.0123.tmp"),
        unrelated,
    }
    assert maintenance.prune(store) == maintenance.Freed(0, 0, 0, {})
    with pytest.raises(NoSuchRun):
        runs.get(store, superseded)


@pytest.mark.parametrize("remove", ["backup", "prune"])
def test_unfinished_copies_of_killed_processes_are_removed(store: Store, remove: str) -> None:
    name, part = store.path.name, f"{uuid4().hex}.tmp"
    old = [f"{name}.20260101T000000Z.bak.{part}", f"{name}.0001.bak.{part}-journal"]
    kept = [f"{name}.old.tmp", f"other.db.bak.{part}"]
    for file in (*old, *kept):
        store.path.with_name(file).touch()
        os.utime(store.path.with_name(file), (0, 0))
    being_written = store.path.with_name(f"{name}.0002.bak.{part}")
    being_written.touch()
    if remove == "backup":
        maintenance.backup(store.path)
    else:
        maintenance.prune(store)
    assert being_written.exists()
    assert [store.path.with_name(file).exists() for file in (*old, *kept)] == [False, False, True, True]


def add_forced(store: Store) -> str:
    claim = claims.claim(store, make_config(), owner=ME, force=True)
    claims.finish(store, claim)
    return claim.run_id


def test_files_are_deleted_only_after_the_commit(store: Store) -> None:
    """The commit fails because a row of another table refers to the runs."""
    superseded = add(store)
    kept = add_forced(store)
    for id in (superseded, kept):
        states.save(states.weights_path(store, id), {"w": np.zeros(3)}, key="k", epoch=1)
    with writing(store) as connection:
        connection.execute(text("CREATE TABLE pin (run_id REFERENCES run (id) DEFERRABLE INITIALLY DEFERRED)"))
        connection.execute(text("INSERT INTO pin SELECT id FROM run"))
    for delete in (lambda: runs.delete(store, [kept]), lambda: maintenance.prune(store)):
        with pytest.raises(BadDatabase, match="FOREIGN KEY"):
            delete()
    assert len(runs.list_runs(store, Filters(include_superseded=True))) == len(states.all_files(store)) == 2


def test_check_reports_runs_that_lack_epochs(store: Store) -> None:
    whole, gap, late, lost = (claims.claim(store, make_config(seed=seed), owner=ME) for seed in range(4))
    claims.claim(store, make_config(seed=4), owner=ME)
    for claim, epochs in ((whole, (0, 1, 2)), (gap, (0, 1, 5, 6)), (late, (1, 2)), (lost, (0, 1))):
        for epoch in epochs:
            claims.record_epoch(store, claim, make_epoch(epoch))
    with writing(store) as connection:
        connection.execute(update(RUN).where(RUN.c.id == lost.run_id).values(epochs_done=3))
    problems = {line[4:11]: line for line in maintenance.check(store.path).problems}
    assert problems.keys() == {claim.run_id[:7] for claim in (gap, late, lost)}
    assert "lacks epochs: it has 4 instead of 0 to 6" in problems[gap.run_id[:7]]


def damage(store: Store, statement: str) -> None:
    """Change the database as a program would that does not know its constraints."""
    with writing(store) as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(statement))
        connection.execute(text("PRAGMA ignore_check_constraints = OFF"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((column, "'{}'") for column in ("config", "tags", "provenance", "heartbeat", "epochs_done")),
        ("config", "CAST(x'7bff7d' AS TEXT)"),
        ("name", "CAST(x'ff' AS TEXT)"),
        ("key", "'../escaped'"),
        ("status", "'../escaped'"),
        ("failure_kind", "'x'"),
        ("epochs_done", "-5"),
        ("best_accuracy", "1e308"),
        ("seconds", "9e999"),
    ],
)
def test_damaged_row_is_reported_and_can_be_deleted(store: Store, column: str, value: str) -> None:
    run_id = claims.claim(store, make_config(), owner=ME).run_id
    damage(store, f"UPDATE run SET {column} = {value}")
    problem = f"run {run_id[:7]} is damaged: its {column} cannot be read; `ff delete {run_id[:7]}` deletes the run"
    with pytest.raises(DamagedRun, match=f"^{problem}$"):
        runs.list_runs(store)
    skipped: list[DamagedRun] = []
    assert runs.list_runs(store, skipped=skipped.append) == []
    assert {error.run for error in skipped} == {run_id[:7]}
    if column in (*RunSummary.__slots__, "heartbeat"):
        assert outcomes.summaries(store, skipped.append) == []
    assert maintenance.prune(store).runs == 0
    assert claims.claim(store, make_config(seed=1), owner=ME).epochs_done == 0
    claims.interrupt(store, claims.claim(store, make_config(seed=2), owner=ME), "Ctrl-C")
    assert maintenance.check(store.path).problems[0] == problem
    assert runs.delete(store, [run_id[:7]]) == [run_id]
    assert (len(runs.list_runs(store)), maintenance.check(store.path).problems) == (2, ())


@pytest.mark.parametrize(
    "change",
    [
        "accuracy = 'x'", "accuracy = -1", "dead_units = '[1'", "dead_units = '[[1]]'", "goodness_positive = 5",
        "goodness_positive = NULL", "hour = 'x'", "phase = 'x'",
    ],
)  # fmt: skip
def test_epoch_that_cannot_be_read_is_reported(store: Store, change: str) -> None:
    kept, damaged = add(store, epochs=0), add(store, seed=1, epochs=0)
    for id in (kept, damaged):
        with writing(store) as connection:
            write_epochs(connection, id, [make_epoch(0)])
    damage(store, f"UPDATE epoch SET {change} WHERE run_id = '{damaged}'")
    problem = f"run {damaged[:7]} is damaged: its epoch 0 cannot be read; `ff delete {damaged[:7]}` deletes the run"
    with pytest.raises(DamagedRun, match=f"^{problem}$"):
        runs.epochs(store, damaged)
    assert runs.epochs(store, kept) == [make_epoch(0)]
    assert maintenance.check(store.path).problems == (problem,)


@pytest.mark.parametrize("wrong", ["../escaped", "0" * 31, "A" * 32, "", "tab\t and \x1b[31m"])
def test_run_with_a_damaged_id_can_be_deleted_by_the_id_that_is_shown(store: Store, wrong: str) -> None:
    kept = add(store, seed=1)
    rename(store, add(store, epochs=0), wrong)
    skipped: list[DamagedRun] = []
    assert [run.id for run in runs.list_runs(store, skipped=skipped.append)] == [kept]
    (error,) = skipped
    assert str(error).isprintable()
    assert runs.delete(store, [error.run]) == [wrong]
    assert [run.id for run in runs.list_runs(store)] == [kept]


def test_check_reports_a_damaged_file(store: Store) -> None:
    store.engine.dispose()
    content = bytearray(store.path.read_bytes())
    content[200:] = bytes(len(content) - 200)
    store.path.write_bytes(content)
    (problem,) = maintenance.check(store.path).problems
    assert problem


def test_reading_does_not_change_the_file(store: Store) -> None:
    claims.claim(store, make_config(), owner=ME)
    store.engine.dispose()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    before = store.path.read_bytes()
    with open_to_read(store.path) as reader:
        assert len(runs.list_runs(reader)) == 1
    assert store.path.read_bytes() == before
