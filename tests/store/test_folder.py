"""The folder of weights and states: one for each database, and files of earlier versions are taken over."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from store_helpers import in_processes, make_config, make_epoch, open_database

from ffcli.store import claims, maintenance, states
from ffcli.store.database import open_store
from ffcli.store.liveness import this_process


def train(path: Path, seed: int = 0) -> str:
    """Add a completed run with weights and a state; return its id."""
    with open_store(path) as store:
        claim = claims.claim(store, make_config(seed=seed), owner=this_process())
        for epoch in range(2):
            claims.record_epoch(store, claim, make_epoch(epoch))
        for place in (states.weights_path, states.state_path):
            states.save(place(store, claim.run_id), {"w": np.zeros(3)}, key="k", epoch=1)
        claims.finish(store, claim)
    return claim.run_id


def as_earlier_version(*databases: Path) -> Path:
    """Move the files to where earlier versions wrote them; return that folder."""
    old = databases[0].with_name(f"{databases[0].stem}.states")
    for database in databases:
        folder = database.with_name(f"{database.name}.states")
        shutil.copytree(folder, old, dirs_exist_ok=True)
        shutil.rmtree(folder)
    return old


def files(path: Path, *, create: bool = False) -> set[str]:
    """Return the kinds of files that a database has for its runs."""
    with open_store(path, create=create) as store:
        return {f"{states.run_of(file)[:3]} {file.name.split('.')[1]}" for file in states.all_files(store)}


def prune(path: Path) -> None:
    with open_store(path) as store:
        maintenance.prune(store)


@pytest.mark.parametrize("other", ["x.sqlite", "x.bak", "x"])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "written by an earlier version"])
def test_prune_keeps_the_files_of_another_database(tmp_path: Path, other: str, earlier: bool) -> None:
    """The other one may be a copy of the database, with the same runs."""
    ours, theirs = tmp_path / "x.db", tmp_path / other
    first = train(ours)
    if other == "x.bak":
        maintenance.backup(ours, theirs)
        shutil.copytree(tmp_path / "x.db.states", tmp_path / "x.bak.states")
        second = first
    else:
        second = train(theirs, seed=1)
    old = as_earlier_version(ours, theirs) if earlier and other != "x" else None
    expected = {f"{second[:3]} weights", f"{second[:3]} state"}
    assert expected <= files(theirs)
    prune(ours)
    assert files(ours) == {f"{first[:3]} weights"}
    assert expected <= files(theirs)
    assert files(theirs, create=True) == expected
    prune(theirs)
    assert files(theirs) == {f"{second[:3]} weights"}
    assert files(ours, create=True) == {f"{first[:3]} weights"}
    assert old is None or {path.name for path in old.iterdir()} >= {f"{first}.weights.safetensors"}


def test_old_folder_of_one_database_is_renamed_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    id = train(path)
    old = as_earlier_version(path)
    expected = {f"{id[:3]} weights", f"{id[:3]} state"}
    assert files(path) == expected
    assert old.is_dir()
    in_processes(4, open_database, path)
    assert not old.exists()
    assert files(path) == expected

    # A process of an earlier version ends a run after that.
    old.mkdir()
    (old / f"{'a' * 32}.weights.safetensors").touch()
    (old / f"{'a' * 32}.state.safetensors.0123.tmp").touch()
    assert files(path, create=True) == {*expected, "aaa weights"}
    assert [file.suffix for file in old.iterdir()] == [".tmp"]
