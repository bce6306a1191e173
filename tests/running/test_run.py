"""The life of a run, in real processes: trained once, continued, killed, taken over, damaged, forced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ff import FF, SMALL
from safetensors.numpy import load_file
from sqlalchemy import delete, text, update

from ffcli.errors import OutOfMemory
from ffcli.running import session
from ffcli.running.session import check_memory, memory_errors
from ffcli.store import states
from ffcli.store.database import open_store, writing
from ffcli.store.liveness import STALE_AFTER, utc_now
from ffcli.store.tables import EPOCH, RUN

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]


def weights(ff: FF, run_id: str) -> dict[str, Any]:
    (path,) = ff.folder.glob(f"*.states/{run_id}*weights*")
    return load_file(path)


def measured(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the epochs without their times."""
    return [{name: value for name, value in e.items() if name != "seconds"} for e in run["epochs"]]


def same_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(rf"epoch +{epoch}/", line):
            return
    pytest.fail(f"the training ended before epoch {epoch}")


@pytest.fixture
def uninterrupted(inside: Inside) -> Inside:
    """Return `ff` with another database, for the uninterrupted run."""
    folder = inside.ff.folder / "uninterrupted"
    folder.mkdir()
    return type(inside)(FF(folder, inside.ff.data))


def test_same_run_is_never_trained_twice(inside: Inside) -> None:
    first = inside.json("train", *SMALL, "--epochs", "2")
    assert (first["status"], first["cached"]) == ("completed", False)
    assert [e["epoch"] for e in first["epochs"]] == [0, 1, 2]
    assert first["final_accuracy"] == first["epochs"][-1]["accuracy"]

    again = inside.json("train", *SMALL, "--epochs", "2")
    assert (again["cached"], again["id"], again["epochs"]) == (True, first["id"], first["epochs"])
    shorter = inside.json("train", *SMALL, "--epochs", "1")
    assert (shorter["cached"], shorter["final_accuracy"]) == (True, first["epochs"][1]["accuracy"])
    assert len(inside.json("list-runs")) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["state kept", "state gone"])
def test_more_epochs_continue_to_the_same_bits(inside: Inside, uninterrupted: Inside, kept: bool) -> None:
    inside("train", *SMALL, "--epochs", "1", "--neg", "masks", *([] if kept else ["--keep-state", "never"]))
    planned = inside("train", *SMALL, "--epochs", "3", "--neg", "masks", "--dry-run")[0]
    assert ("continues after epoch 1" in planned) == kept
    output, messages = inside("train", *SMALL, "--epochs", "3", "--neg", "masks", "--json")
    longer = json.loads(output)
    assert ("the state of its 1 epoch was not kept: starting again from the beginning" in messages) != kept
    whole = uninterrupted.json("train", *SMALL, "--epochs", "3", "--neg", "masks")
    assert longer["provenance"][-1]["from_epoch"] == (1 if kept else 0)
    assert measured(longer) == measured(whole)
    assert same_weights(weights(inside.ff, longer["id"]), weights(uninterrupted.ff, whole["id"]))
    assert len(inside.json("list-runs")) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_run_continues_to_the_same_bits(inside: Inside, uninterrupted: Inside, how: signal.Signals) -> None:
    options = ("train", *SMALL, "--balanced", "--pos-phase", "4")
    with inside.ff.started(*options, "--epochs", "4000") as process:
        wait_for_epoch(process, 3)
        process.send_signal(how)
        process.communicate()
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)

    (left,) = inside.json("list-runs")
    assert left["status"] == "interrupted"
    assert left["failure_kind"] is None
    assert left["epochs_done"] >= 3

    epochs = str(left["epochs_done"] + 3)
    continued = inside.json(*options, "--epochs", epochs)
    whole = uninterrupted.json(*options, "--epochs", epochs)
    assert continued["provenance"][-1]["from_epoch"] >= 3
    assert (continued["id"], continued["status"]) == (left["id"], "completed")
    assert measured(continued) == measured(whole)
    assert same_weights(weights(inside.ff, continued["id"]), weights(uninterrupted.ff, whole["id"]))


def test_suspended_process_stops_if_its_run_was_taken_over(inside: Inside) -> None:
    """Another process is refused while the run is trained, and takes it over once the heartbeats stop."""
    options = ("train", *SMALL, "--epochs")
    with inside.ff.started(*options, "4000") as process:
        wait_for_epoch(process, 2)
        assert "is being trained by process" in inside.refused(*options, "4000", code=1)
        os.kill(process.pid, signal.SIGSTOP)
        with open_store(inside.ff.db, timeout=60) as store, writing(store) as connection:
            connection.execute(update(RUN).values(heartbeat=utc_now() - 2 * STALE_AFTER))
        (left,) = inside.json("list-runs")
        assert left["status"] == "stale"
        epochs = left["epochs_done"] + 2
        other = inside.json(*options, str(epochs))
        os.kill(process.pid, signal.SIGCONT)
        _, messages = process.communicate()
    assert process.returncode == 1
    assert "given up" in messages.splitlines()[-1]
    assert "Traceback" not in messages
    (run,) = inside.json("list-runs")
    assert (run["id"], run["status"], run["epochs_done"]) == (other["id"], "completed", epochs)


def test_damaged_state_is_kept_aside_and_the_run_starts_again(inside: Inside, uninterrupted: Inside) -> None:
    first = inside.json("train", *SMALL, "--epochs", "2", "--keep-state", "always")
    (state,) = inside.ff.folder.glob("*.states/*.state.*")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)

    _, messages = inside("train", *SMALL, "--epochs", "4", "--json")
    assert "kept aside" in messages
    assert list(inside.ff.folder.glob("*.states/*damaged*"))
    again = inside.json("show", first["id"])
    assert again["provenance"][-1]["from_epoch"] == 0
    assert measured(again) == measured(uninterrupted.json("train", *SMALL, "--epochs", "4"))


def test_state_ahead_of_the_database_is_not_continued(inside: Inside, uninterrupted: Inside) -> None:
    """A backup of the database is restored; the state beside it is of a later epoch."""
    backup = inside.ff.folder / "backup"
    inside("train", *SMALL, "--epochs", "2", "--keep-state", "always")
    inside("db", "backup", str(backup))
    inside("train", *SMALL, "--epochs", "4", "--keep-state", "always")
    for log in inside.ff.folder.glob("ff.db-*"):
        log.unlink()
    backup.replace(inside.ff.db)

    _, messages = inside("train", *SMALL, "--epochs", "6")
    assert "its saved state is of epoch 4, but the database lacks epochs before it" in messages
    (run,) = inside.json("list-runs")
    assert measured(inside.json("show", run["id"])) == measured(uninterrupted.json("train", *SMALL, "--epochs", "6"))
    assert same_weights(weights(inside.ff, run["id"]), weights(uninterrupted.ff, only_id(uninterrupted)))
    inside("db", "check")


def test_states_of_the_latest_runs_are_kept_within_the_budget(inside: Inside) -> None:
    def train(seed: int, keep: str = "auto", budget: float = 2.0) -> Path:
        options = ("--epochs", "1", "--seed", str(seed), "--keep-state", keep, "--state-budget", f"{budget:.9f}")
        run = inside.json("train", *SMALL, *options)
        return inside.ff.folder / "ff.db.states" / f"{run['id']}.state.safetensors"

    first, always, last = train(1), train(2, "always"), train(3)
    size = last.stat().st_size
    assert [path.exists() for path in (first, always, last)] == [True] * 3
    fourth = train(4, budget=2.5 * size / 1e9)
    assert [path.exists() for path in (first, always, last, fourth)] == [False, True, True, True]
    assert not train(5, "never").exists()
    assert train(6, budget=0).parent.exists()
    assert [path.exists() for path in (always, last, fourth)] == [True, False, False]

    planned, before = inside("prune", "--dry-run").stdout, sorted(always.parent.iterdir())
    config = "mnist (sample), label, 1:1, fast@1 with hidden 30,20, seed 2"
    assert planned == f"{size / 1e6:8.1f} MB  run {always.name[:7]} ({config})\n"
    assert sorted(always.parent.iterdir()) == before
    inside("prune")
    assert not always.exists()


def only_id(inside: Inside) -> str:
    (run,) = inside.json("list-runs")
    return str(run["id"])


def test_run_that_lacks_epochs_is_trained_again(inside: Inside) -> None:
    """Versions that continued from a state ahead of the database left such runs."""
    whole = inside.json("train", *SMALL, "--epochs", "4", "--keep-state", "always")
    with open_store(inside.ff.db) as store, writing(store) as connection:
        connection.execute(delete(EPOCH).where(EPOCH.c.epoch == 2))
    assert "lacks epochs" in inside("db", "check", code=1).stderr
    again = inside.json("train", *SMALL, "--epochs", "4")
    assert (again["cached"], measured(again)) == (False, measured(whole))
    inside("db", "check")


def test_state_is_deleted_after_the_end_is_committed(inside: Inside) -> None:
    """The commit of the end fails, as on a full disk; the run then ends from its state, and nothing is trained."""
    inside("train", *SMALL, "--epochs", "1")
    with open_store(inside.ff.db) as store, writing(store) as connection:
        trigger = "BEFORE UPDATE ON run WHEN new.status = 'completed' BEGIN SELECT RAISE(ABORT, 'full'); END"
        connection.execute(text(f"CREATE TRIGGER full {trigger}"))
    inside("train", *SMALL, "--epochs", "2", "--keep-state", "never", code=2)
    with open_store(inside.ff.db) as store, writing(store) as connection:
        connection.execute(text("DROP TRIGGER full"))
    run = inside.json("train", *SMALL, "--epochs", "2", "--keep-state", "never")
    assert (run["status"], run["provenance"][-1]["from_epoch"]) == ("completed", 2)
    assert not list(inside.ff.folder.glob("*.states/*.state.*"))


def test_run_that_another_process_ends_meanwhile_is_not_trained_again(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process trains it while this one, which has looked it up, loads the data."""
    load = session.load_data

    def slow(*arguments: Any, **options: Any) -> Any:
        inside.ff("train", *SMALL, "--epochs", "1")
        return load(*arguments, **options)

    monkeypatch.setattr(session, "load_data", slow)
    run = inside.json("train", *SMALL, "--epochs", "1")
    assert (run["cached"], len(run["provenance"])) == (True, 1)


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_stored_run_gets_new_tags_and_keeps_its_note(inside: Inside, command: str) -> None:
    inside("train", *SMALL, "--epochs", "1", "--tag", "first", "--note", "kept")
    inside(command, *SMALL, "--epochs", "1", "--tag", "late")
    (run,) = inside.json("list-runs", "--tag", "late")
    assert (run["tags"], inside.json("show", run["id"])["note"]) == (["late"], "kept")


@pytest.mark.parametrize("command", [("train",), ("sweep", "--workers", "1")], ids=["train", "sweep"])
def test_state_of_another_version_is_not_continued(
    inside: Inside, uninterrupted: Inside, command: tuple[str, ...]
) -> None:
    first = inside.json("train", *SMALL, "--epochs", "2", "--keep-state", "always")
    (path,) = inside.ff.folder.glob("*.states/*.state.safetensors")
    tensors, _ = states.load(path, key=first["key"])
    tensors["layers.0.parameters"] = tensors["layers.0.parameters"][:-1]
    states.save(path, tensors, key=first["key"], epoch=2)

    _, messages = inside(*command, *SMALL, "--epochs", "4", "--json")
    assert "'layers.0.parameters'" in messages
    assert "starting again from the beginning" in messages
    (restarted,) = inside.json("list-runs")
    assert measured(inside.json("show", restarted["id"])) == measured(
        uninterrupted.json("train", *SMALL, "--epochs", "4")
    )


def test_force_trains_again_and_keeps_the_earlier_run_as_superseded(inside: Inside) -> None:
    first = inside.json("train", *SMALL, "--epochs", "1")
    second = inside.json("train", *SMALL, "--epochs", "1", "--force")
    assert second["id"] != first["id"]
    assert measured(second) == measured(first)
    assert [r["id"] for r in inside.json("list-runs")] == [second["id"]]
    assert {r["id"]: r["status"] for r in inside.json("list-runs", "--all")}[first["id"]] == "superseded"


def test_diverged_run_is_stored_and_not_retried(inside: Inside) -> None:
    asked = ("train", *SMALL, "--lr", "1e30", "--epochs", "2")
    ids = set()
    for _ in range(2):
        _, messages = inside(*asked, code=1)
        assert "diverged in epoch 1, layer 1" in messages
        (run,) = inside.json("list-runs")
        ids.add((run["id"], run["started"], run["ended"]))
    assert (run["status"], run["failure_kind"]) == ("failed", "diverged")
    assert len(ids) == 1


def test_run_larger_than_memory_is_refused_and_stored(inside: Inside) -> None:
    line = inside.refused("train", "--dataset", "mnist", "--hidden", "9000000,9000000", "--epochs", "1", code=1)
    assert line.startswith("ff: out of memory: the run needs at least")
    (run,) = inside.json("list-runs")
    assert (run["status"], run["failure_kind"], run["epochs_done"]) == ("failed", "out of memory", 0)


def test_ordinary_runs_are_not_refused_and_memory_errors_are_translated(inside: Inside) -> None:
    inside("train", *SMALL, "--epochs", "1")
    (run,) = inside.ff.runs()
    check_memory(run.config.model_copy(update={"hidden": (2000, 2000, 2000, 2000)}))
    for allocate in (lambda: np.empty(2**60, dtype=np.uint8), lambda: torch.empty(2**60, dtype=torch.uint8)):
        with pytest.raises(OutOfMemory, match="--batch-size"), memory_errors(run.config):
            allocate()
    with pytest.raises(RuntimeError, match="mat1"), memory_errors(run.config):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_evaluation_interval_does_not_change_the_weights(inside: Inside, uninterrupted: Inside) -> None:
    often = inside.json("train", *SMALL, "--epochs", "4")
    seldom = uninterrupted.json("train", *SMALL, "--epochs", "4", "--eval-every", "3")
    assert often["key"] == seldom["key"]
    assert [e["accuracy"] is not None for e in seldom["epochs"]] == [True, False, False, True, True]
    assert often["final_accuracy"] == seldom["final_accuracy"]
    assert same_weights(weights(inside.ff, often["id"]), weights(uninterrupted.ff, seldom["id"]))


def test_held_out_images_select_the_best_epoch(inside: Inside) -> None:
    run = inside.json("train", *SMALL, "--epochs", "3", "--holdout", "2000", "--seed", "1")
    trained = run["epochs"][1:]
    chosen = max(trained, key=lambda e: e["validation_accuracy"])
    assert run["best_accuracy"] == chosen["accuracy"]
    assert trained[0]["hour"] == -(-8000 // 512)
