"""A run's life, in real processes: trained once, continued, killed, taken over, damaged, forced."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ff import FF, SMALL
from safetensors.numpy import load_file

from ffcli.store import states


def weights(ff: FF, run_id: str) -> dict[str, Any]:
    (path,) = ff.folder.glob(f"*.states/{run_id}*weights*")
    return load_file(path)


def measured(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The epochs without what a clock says."""
    return [{name: value for name, value in e.items() if name != "seconds"} for e in answer["epochs"]]


def same_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(rf"epoch +{epoch}/", line):
            return
    pytest.fail(f"the training ended before epoch {epoch}")


@pytest.fixture
def straight(tmp_path: Path, data_folder: Path) -> FF:
    """Another database, for the uninterrupted run."""
    (tmp_path / "straight").mkdir()
    return FF(tmp_path / "straight", data_folder)


def test_the_same_run_is_never_trained_twice(ff: FF) -> None:
    first = ff.json("train", *SMALL, "--epochs", "2")
    assert (first["status"], first["cached"]) == ("completed", False)
    assert [e["epoch"] for e in first["epochs"]] == [0, 1, 2]
    assert first["final_accuracy"] == first["epochs"][-1]["accuracy"]

    again = ff.json("train", *SMALL, "--epochs", "2")
    assert (again["cached"], again["id"], again["epochs"]) == (True, first["id"], first["epochs"])
    shorter = ff.json("train", *SMALL, "--epochs", "1")
    assert (shorter["cached"], shorter["final_accuracy"]) == (True, first["epochs"][1]["accuracy"])
    assert len(ff.json("list-runs")) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["state kept", "state gone"])
def test_more_epochs_continue_to_the_same_bits(ff: FF, straight: FF, kept: bool) -> None:
    ff("train", *SMALL, "--epochs", "1", "--neg", "masks", *(["--keep-state"] if kept else []))
    longer = ff.json("train", *SMALL, "--epochs", "3", "--neg", "masks")
    whole = straight.json("train", *SMALL, "--epochs", "3", "--neg", "masks")
    assert longer["provenance"][-1]["from_epoch"] == (1 if kept else 0)
    assert measured(longer) == measured(whole)
    assert same_weights(weights(ff, longer["id"]), weights(straight, whole["id"]))
    assert len(ff.json("list-runs")) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_continues_to_the_same_bits(ff: FF, straight: FF, how: signal.Signals) -> None:
    asked = ("train", *SMALL, "--epochs", "8", "--balanced", "--pos-phase", "4")
    with ff.started(*asked) as process:
        wait_for_epoch(process, 3)
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)

    (left,) = ff.json("list-runs")
    assert left["status"] == "interrupted"
    assert 3 <= left["epochs_done"] < 8

    continued = ff.json(*asked)
    whole = straight.json(*asked)
    assert continued["provenance"][-1]["from_epoch"] >= 3
    assert (continued["id"], continued["status"]) == (left["id"], "completed")
    assert measured(continued) == measured(whole)
    assert same_weights(weights(ff, continued["id"]), weights(straight, whole["id"]))


def test_a_run_that_another_process_trains_is_not_trained_beside_it(ff: FF) -> None:
    asked = ("train", *SMALL, "--epochs", "2000")
    with ff.started(*asked) as process:
        wait_for_epoch(process, 1)
        assert "is being trained by process" in ff(*asked, code=1).stderr


def test_a_sleeper_stops_quietly_when_its_run_was_taken_over(ff: FF) -> None:
    """Stopped as by a laptop's lid, given up by another process as if on another host, then woken."""
    asked = ("train", *SMALL, "--epochs", "4000")
    with ff.started(*asked) as process:
        wait_for_epoch(process, 2)
        os.kill(process.pid, signal.SIGSTOP)
        _age_heartbeat(ff)
        taken = ff.json("train", *SMALL, "--epochs", "6")
        os.kill(process.pid, signal.SIGCONT)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "given up" in messages.splitlines()[-1]
    assert "Traceback" not in messages
    (run,) = ff.json("list-runs")
    assert (run["id"], run["status"], run["epochs_done"]) == (taken["id"], "completed", 6)


def _age_heartbeat(ff: FF) -> None:
    """As if the stopped process had not been heard of for an hour."""
    from datetime import UTC, datetime, timedelta

    from sqlalchemy import update

    from ffcli.store.database import open_store, writing
    from ffcli.store.tables import RUN

    with open_store(ff.db) as store, writing(store) as connection:
        connection.execute(update(RUN).values(heartbeat=datetime.now(UTC) - timedelta(hours=1)))


def test_a_damaged_state_is_kept_aside_and_the_run_starts_again(ff: FF, straight: FF) -> None:
    with ff.started("train", *SMALL, "--epochs", "40") as process:
        wait_for_epoch(process, 2)
    (state,) = ff.folder.glob("*.states/*state*")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)

    again = ff("train", *SMALL, "--epochs", "4", "--json")
    assert "kept aside" in again.stderr
    assert list(ff.folder.glob("*.states/*damaged*"))
    assert '"from_epoch": 0' in again.stdout
    straight("train", *SMALL, "--epochs", "4")
    assert ff.json("list-runs")[0]["final_accuracy"] == straight.json("list-runs")[0]["final_accuracy"]


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_stored_run_takes_the_labels_that_are_given(ff: FF, command: str) -> None:
    ff("train", *SMALL, "--epochs", "1", "--tag", "first", "--note", "kept")
    ff(command, *SMALL, "--epochs", "1", "--tag", "late")
    (run,) = ff.json("list-runs", "--tag", "late")
    assert (run["tags"], ff.json("show", run["id"])["note"]) == (["late"], "kept")


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_state_that_another_version_saved_is_not_continued(ff: FF, straight: FF, command: str) -> None:
    first = ff.json("train", *SMALL, "--epochs", "2", "--keep-state")
    (path,) = ff.folder.glob("*.states/*.state.safetensors")
    tensors, _ = states.load(path, key=first["key"])
    tensors["layers.0.parameters"] = tensors["layers.0.parameters"][:-1]
    states.save(path, tensors, {}, key=first["key"], epoch=2)

    again = ff(command, *SMALL, "--epochs", "4", "--json")
    assert "'layers.0.parameters' is missing or of another shape: starting again from the beginning" in again.stderr
    (anew,) = ff.json("list-runs")
    assert measured(ff.json("show", anew["id"])) == measured(straight.json("train", *SMALL, "--epochs", "4"))


def test_force_trains_anew_and_keeps_the_earlier_run_as_superseded(ff: FF) -> None:
    first = ff.json("train", *SMALL, "--epochs", "1")
    second = ff.json("train", *SMALL, "--epochs", "1", "--force")
    assert second["id"] != first["id"]
    assert measured(second) == measured(first)
    assert [r["id"] for r in ff.json("list-runs")] == [second["id"]]
    assert {r["id"]: r["status"] for r in ff.json("list-runs", "--all")}[first["id"]] == "superseded"


def test_divergence_is_recorded_and_answered(ff: FF) -> None:
    asked = ("train", *SMALL, "--lr", "1e30", "--epochs", "2")
    for _ in range(2):
        failed = ff(*asked, code=1)
        assert "diverged in epoch 1, layer 1" in failed.stderr
    (run,) = ff.json("list-runs")
    assert run["status"] == "failed"


def test_how_often_one_evaluates_changes_no_bit(ff: FF, straight: FF) -> None:
    often = ff.json("train", *SMALL, "--epochs", "4")
    seldom = straight.json("train", *SMALL, "--epochs", "4", "--eval-every", "3")
    assert often["key"] == seldom["key"]
    assert [e["accuracy"] is not None for e in seldom["epochs"]] == [True, False, False, True, True]
    assert often["final_accuracy"] == seldom["final_accuracy"]
    assert same_weights(weights(ff, often["id"]), weights(straight, seldom["id"]))


def test_held_out_images_choose_the_best_epoch(ff: FF) -> None:
    answer = ff.json("train", *SMALL, "--epochs", "3", "--holdout", "2000", "--seed", "1")
    trained = answer["epochs"][1:]
    chosen = max(trained, key=lambda e: e["validation_accuracy"])
    assert answer["best_accuracy"] == chosen["accuracy"]
    assert trained[0]["hour"] == -(-8000 // 512)
