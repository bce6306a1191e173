"""Merging two databases: which run stays current, that nothing is lost, and that a merge is complete or undone."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from store_helpers import PROVENANCE, make_config, make_epoch

from ffcli.errors import BadDatabase, StorageFull
from ffcli.records import RunRecord
from ffcli.store import claims, runs, states
from ffcli.store.claims import Claim
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.liveness import Owner, this_process
from ffcli.store.merge import Merged, merge
from ffcli.store.migrate import HEAD, run_migrations
from ffcli.store.runs import Filters
from ffcli.store.sqlite import engine_for
from ffcli.store.tables import METADATA, RUN

ME = this_process()
GONE = replace(ME, pid_started=0.0)

NOTHING = Merged(0, 0, 0, 0, 0, 0, 0, ())


def train(store: Store, epochs: int, *, end: bool = True, owner: Owner = ME, tags: Iterable[str] = (), **o: Any) -> str:
    """Train a new or the stored run up to `epochs`; return its id."""
    force = o.pop("force", False)
    claim = claims.claim(store, make_config(epochs=max(epochs, 1), **o), owner=owner, force=force, tags=tuple(tags))
    record(store, claim, range(claim.epochs_done + 1, epochs + 1))
    if end:
        claims.finish(store, claim)
    return claim.run_id


def record(store: Store, claim: Claim, epochs: Iterable[int]) -> None:
    for epoch in epochs:
        claims.record_epoch(store, claim, make_epoch(epoch, 10.0 + epoch))


@pytest.fixture
def other(tmp_path: Path) -> Iterable[Store]:
    (tmp_path / "colleague").mkdir()
    with open_store(tmp_path / "colleague" / "theirs.db") as store:
        yield store


def everything(store: Store) -> dict[str, Any]:
    """Return all rows, and digests of all files."""
    with reading(store) as connection:
        rows = {
            name: sorted(tuple(map(repr, row)) for row in connection.execute(select(table)))
            for name, table in METADATA.tables.items()
        }
    folder = states.states_folder(store)
    files = {path.name: digest(path) for path in folder.iterdir()} if folder.is_dir() else {}
    return rows | {"files": files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def all_runs(store: Store) -> dict[str, RunRecord]:
    return {run.id: run for run in runs.list_runs(store, Filters(include_superseded=True))}


def test_merge_copies_whole_runs_and_is_idempotent(store: Store, other: Store) -> None:
    mine = train(store, 2, seed=7)
    claim = claims.claim(other, make_config(epochs=3), owner=ME, name="theirs", tags=["ü", "x"], note="why")
    claims.add_provenance(other, claim, PROVENANCE)
    record(other, claim, range(4))
    claims.finish(other, claim)
    expected = runs.get(other, claim.run_id)
    assert merge(store, other.path) == replace(NOTHING, taken=1, epochs=4)
    assert runs.get(store, claim.run_id) == expected
    assert runs.epochs(store, claim.run_id) == runs.epochs(other, claim.run_id)
    assert set(all_runs(store)) == {mine, claim.run_id}
    before = everything(store)
    assert merge(store, other.path) == replace(NOTHING, already_here=1)
    assert everything(store) == before


@pytest.mark.parametrize(("ours", "theirs"), [(5, 3), (3, 5), (4, 4)])
def test_longer_run_of_a_key_supersedes_the_other(store: Store, other: Store, ours: int, theirs: int) -> None:
    mine, other_run = train(store, ours), train(other, theirs)
    assert merge(store, other.path) == replace(NOTHING, taken=1, superseded=1, epochs=theirs)
    found = runs.find(store, make_config().key)
    assert found is not None
    assert (found.id, found.status) == (other_run if theirs > ours else mine, "completed")
    assert {run.status for run in all_runs(store).values()} == {"completed", "superseded"}
    assert len(runs.epochs(store, mine)) == ours
    assert len(runs.epochs(store, other_run)) == theirs


def test_a_merged_run_with_more_epochs_extends_the_stored_one(store: Store, other: Store) -> None:
    id = train(other, 2, tags=["there"])
    merge(store, other.path)
    train(store, 2, tags=["here"])
    train(other, 5)
    assert merge(store, other.path) == replace(NOTHING, extended=1, epochs=3)
    run = runs.get(store, id)
    assert (run.status, run.epochs_done, run.final_accuracy, run.config.epochs) == ("completed", 5, 15.0, 5)
    assert run.tags == ("here", "there")
    assert runs.epochs(store, id) == runs.epochs(other, id)
    train(store, 9)
    before = everything(store)
    assert merge(store, other.path) == replace(NOTHING, already_here=1)
    assert everything(store) == before


def test_accuracies_measured_on_either_side_are_kept(store: Store, other: Store) -> None:
    id = train(other, 1)
    merge(store, other.path)
    for at, first, second in ((store, None, 70.0), (other, 60.0, None)):
        claim = claims.claim(at, make_config(epochs=3), owner=ME)
        claims.record_epoch(at, claim, make_epoch(2, first))
        claims.record_epoch(at, claim, make_epoch(3, second))
        claims.finish(at, claim)
    assert merge(store, other.path) == replace(NOTHING, extended=1)
    assert [e.accuracy for e in runs.epochs(store, id)] == [11.0, 60.0, 70.0]
    assert runs.get(store, id).best_accuracy == 70.0
    assert merge(store, other.path) == replace(NOTHING, already_here=1)


def test_running_runs_are_merged_as_interrupted(store: Store, other: Store) -> None:
    alive = train(other, 2, end=False)
    dead = train(other, 2, end=False, owner=GONE, seed=1)
    merge(store, other.path)
    for id in (alive, dead):
        run = runs.get(store, id)
        assert (run.status, run.ended) == ("interrupted", run.heartbeat)
    assert claims.claim(store, make_config(), owner=ME).run_id == alive
    assert runs.get(other, alive).status == "running"


def test_runs_being_trained_here_are_left_out(store: Store, other: Store) -> None:
    claim = claims.claim(store, make_config(epochs=9), owner=ME)
    longer = train(other, 5)
    merged = merge(store, other.path)
    assert replace(merged, notices=()) == replace(NOTHING, left_out=1)
    assert longer[:7] in merged.notices[0]
    assert claim.run_id[:7] in merged.notices[0]
    record(store, claim, [1])
    claims.interrupt(store, claim, "Ctrl-C")
    assert merge(store, other.path).superseded == 1
    assert runs.get(store, claim.run_id).status == "superseded"
    assert runs.get(store, longer).status == "completed"


# A history: (who trains, seed, epochs, anew?), or a merge.
steps = st.lists(
    st.tuples(st.sampled_from(["ours", "theirs"]), st.integers(0, 1), st.integers(0, 4), st.booleans())
    | st.just("merge"),
    max_size=8,
)


@settings(max_examples=8, deadline=None)
@given(steps)
@example([("theirs", 0, 2, False), "merge", ("theirs", 0, 4, True), ("ours", 0, 3, False)])
@example([("theirs", 0, 2, False), "merge", ("ours", 0, 3, True), ("theirs", 0, 4, False)])
@example([("theirs", 0, 3, False), "merge", ("ours", 0, 1, True)])
@example([("theirs", 0, 3, False), ("theirs", 0, 1, True), "merge", ("ours", 0, 2, True)])
def test_merge_keeps_the_longest_run_and_all_epochs_after_any_history(history: list[Any]) -> None:
    with TemporaryDirectory() as folder, open_store(Path(folder) / "ours.db") as ours:
        with open_store(Path(folder) / "theirs.db") as theirs:
            for step in history:
                if step == "merge":
                    merge(ours, theirs.path)
                else:
                    who, seed, epochs, force = step
                    train({"ours": ours, "theirs": theirs}[who], epochs, seed=seed, force=force)
        mine, foreign = all_runs(ours), all_runs(theirs)
        known = {(side.path, id): runs.epochs(side, id) for side in (ours, theirs) for id in all_runs(side)}
        before = digest(theirs.path)

        merge(ours, theirs.path)

        merged = all_runs(ours)
        assert merged.keys() == mine.keys() | foreign.keys()
        for (_, id), epochs in known.items():
            assert {e.epoch for e in epochs} <= {e.epoch for e in runs.epochs(ours, id)}
        for key in {run.key for run in merged.values()}:
            [current] = [run for run in merged.values() if run.key == key and run.status != "superseded"]
            held = [run for run in mine.values() if run.key == key and run.status != "superseded"]
            news = [r for r in foreign.values() if r.key == key and r.status != "superseded" and is_news(r, mine)]
            assert current.epochs_done >= max(run.epochs_done for run in [*held, *news])
            if held and all(run.epochs_done <= held[0].epochs_done for run in news):
                assert current.id == held[0].id
        assert digest(theirs.path) == before
        after = everything(ours)
        again = merge(ours, theirs.path)
        assert (again.taken, again.extended, again.superseded, again.epochs) == (0, 0, 0, 0)
        assert everything(ours) == after


def is_news(run: RunRecord, here: dict[str, RunRecord]) -> bool:
    """Whether it is longer than what is here of it: who superseded a run here knew it so far."""
    return run.id not in here or run.epochs_done > here[run.id].epochs_done


def save(place: Any, store: Store, id: str, epoch: int, seed: int = 0) -> Path:
    path: Path = place(store, id)
    tensors: states.Tensors = {"w": np.arange(epoch, dtype=np.float32)}
    states.save(path, tensors, key=make_config(seed=seed).key, epoch=epoch)
    return path


def assert_same_content(mine: Path, theirs: Path) -> None:
    (tensors, epoch), (expected, saved_epoch) = (states.load(p, key=make_config().key) for p in (mine, theirs))
    assert epoch == saved_epoch
    np.testing.assert_equal(tensors, expected)


def test_states_and_weights_are_copied(store: Store, other: Store) -> None:
    id, damaged = train(other, 3), train(other, 2, seed=1)
    state, weights = save(states.state_path, other, id, 3), save(states.weights_path, other, id, 3)
    save(states.state_path, other, damaged, 2, seed=1).write_bytes(b"half")
    flipped = save(states.weights_path, other, damaged, 2, seed=1)
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x01")
    merged = merge(store, other.path)
    assert merged.files == 2
    assert len(merged.notices) == 2
    assert all(damaged in notice and "left out" in notice for notice in merged.notices)
    for mine, theirs in ((states.state_path(store, id), state), (states.weights_path(store, id), weights)):
        assert_same_content(mine, theirs)
    assert len(states.all_files(store)) == 2
    assert merge(store, other.path).files == 0


def test_state_of_the_later_epoch_is_kept(store: Store, other: Store) -> None:
    id = train(other, 3)
    save(states.state_path, other, id, 3)
    merge(store, other.path)
    train(store, 5)
    mine = save(states.state_path, store, id, 5)
    before = digest(mine)
    merge(store, other.path)
    assert digest(mine) == before
    train(other, 7)
    # One epoch further than the epochs that were read: continuing from it would leave a gap.
    save(states.state_path, other, id, 8)
    merged = merge(store, other.path)
    assert (merged.extended, merged.files) == (1, 0)
    assert "merge again" in merged.notices[0]
    assert digest(mine) == before
    theirs = save(states.state_path, other, id, 7)
    mine.write_bytes(b"damaged here")
    assert merge(store, other.path).files == 1
    assert_same_content(mine, theirs)
    assert mine.with_name(mine.name + ".damaged").read_bytes() == b"damaged here"


def test_dry_run_gives_the_same_counts_and_changes_nothing(store: Store, other: Store) -> None:
    train(store, 2)
    save(states.state_path, other, train(other, 3), 3)
    train(other, 1, seed=1)
    before = everything(store)
    planned = merge(store, other.path, dry_run=True)
    assert everything(store) == before
    assert planned == merge(store, other.path) == replace(NOTHING, taken=2, superseded=1, epochs=4, files=1)


def at_revision(path: Path, revision: str) -> None:
    """Downgrade a database to an earlier revision, or mark it with a later one."""
    if revision < HEAD:
        engine = engine_for(path, foreign_keys=False)
        with engine.begin() as connection:
            run_migrations(connection, target=f"-{int(HEAD) - int(revision)}")
        engine.dispose()
    else:
        with sqlite3.connect(path) as bare:
            bare.execute(f"UPDATE alembic_version SET version_num = '{revision}'")
        bare.close()


def test_older_database_is_merged_unchanged_and_a_newer_one_refused(store: Store, other: Store) -> None:
    train(other, 2)
    other.close()
    at_revision(other.path, "0001")
    before, names = digest(other.path), set(other.path.parent.iterdir())
    assert merge(store, other.path).taken == 1
    assert (digest(other.path), set(other.path.parent.iterdir())) == (before, names)
    at_revision(other.path, "9999")
    with pytest.raises(BadDatabase, match=rf"{other.path} is newer than this program .*9999"):
        merge(store, other.path)
    assert set(other.path.parent.iterdir()) == names


def test_unmergeable_files_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match=r"no database .*none\.db"):
        merge(store, tmp_path / "none.db")
    with pytest.raises(BadDatabase, match="is the database to merge into"):
        merge(store, f"sqlite:///{store.path}")
    (tmp_path / "garbage.db").write_bytes(b"no database, but long enough to look like one" * 100)
    with pytest.raises(BadDatabase, match=r"garbage\.db is not a database"):
        merge(store, tmp_path / "garbage.db")
    assert all_runs(store) == {}


def test_runs_that_cannot_be_read_are_left_out(store: Store, other: Store) -> None:
    """A damaged id must not become part of a file's name."""
    kept, damaged, negative, epoch = train(other, 2), *(train(other, seed - 1, seed=seed) for seed in (1, 2, 3))
    with writing(other) as connection:
        connection.execute(update(RUN).where(RUN.c.id == damaged).values(id="../escaped"))
        connection.execute(update(RUN).where(RUN.c.id == negative).values(epochs_done=-5))
        connection.execute(text(f"UPDATE epoch SET phase = 'x' WHERE epoch = 2 AND run_id = '{epoch}'"))
    save(states.state_path, other, kept, 2)
    save(states.state_path, other, "../escaped", 0, seed=1)
    merged = merge(store, other.path)
    assert (merged.taken, merged.left_out, merged.files) == (1, 3, 1)
    assert merged.notices == tuple(
        f"left out: run {run} is damaged: its {part} cannot be read; `ff delete {run}` deletes the run"
        for run, part in (("../escaped", "id"), (negative[:7], "epochs_done"), (epoch[:7], "epoch 2"))
    )
    assert all_runs(store).keys() == {kept}
    assert not list(store.path.parent.glob("escaped*"))

    with writing(store) as connection:
        connection.execute(text("UPDATE run SET heartbeat = 'x'"))
    here = next(notice for notice in merge(store, other.path).notices if kept[:7] in notice)
    assert f"because here run {kept[:7]} is damaged" in here


KILLED = """
import os, signal, sys
from sqlalchemy import event
from ffcli.store.database import open_store
from ffcli.store.merge import merge

left = int(sys.argv[3])
with open_store(sys.argv[1]) as store:
    @event.listens_for(store.engine, "after_cursor_execute")
    def count(connection, cursor, statement, *_):
        global left
        left -= statement.startswith(("INSERT", "UPDATE"))
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    merge(store, sys.argv[2])
"""


@pytest.mark.parametrize("writes", [1, 4])
def test_killed_merge_changes_nothing(store: Store, other: Store, writes: int) -> None:
    train(store, 2)
    for seed in range(3):
        train(other, 3, seed=seed)
    before = everything(store)
    done = subprocess.run([sys.executable, "-c", KILLED, store.path, other.path, str(writes)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert everything(store) == before
    assert merge(store, other.path) == replace(NOTHING, taken=3, superseded=1, epochs=9)


def test_full_disk_undoes_the_merge(tiny_disk: Path, other: Store) -> None:
    for seed in range(40):
        claim = claims.claim(other, make_config(seed=seed), owner=ME, note="x" * 40_000)
        claims.finish(other, claim)
    with open_store(tiny_disk / "runs.db") as store:
        id = train(store, 2)
        with pytest.raises(StorageFull, match="no space left"):
            merge(store, other.path)
        assert list(all_runs(store)) == [id]


def test_counts_have_the_documented_json_names() -> None:
    assert list(asdict(NOTHING)) == [
        "taken", "extended", "already_here", "left_out", "superseded", "epochs", "files", "notices",
    ]  # fmt: skip
