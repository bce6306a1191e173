"""Sweeps with real worker processes: no run is trained twice or lost, and the bits are those of single runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ff import FF
from safetensors.numpy import load_file

from ffcli.records import RunRecord
from ffcli.running import cluster, workers
from ffcli.running.handshake import Site
from ffcli.running.messages import Arrays, Assignment
from ffcli.store.database import open_store
from ffcli.store.runs import epochs

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

SMALL = ("--dataset", "mnist", "--hidden", "8")
GRID = (*SMALL, "--epochs", "3", "--pos-phase", "1,2", "--neg", "label,masks")


def by_key(ff: FF) -> dict[str, RunRecord]:
    return {run.key: run for run in ff.runs()}


def trained(ff: FF, run_id: str) -> tuple[list[float | None], dict[str, Any]]:
    """Return the accuracy of every epoch, and the final weights."""
    with open_store(ff.db) as store:
        accuracies = [e.accuracy for e in epochs(store, run_id)]
    return accuracies, load_file(ff.folder / "ff.db.states" / f"{run_id}.weights.safetensors")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a sweep or of `ff worker`."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just exited
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def wait_for_epochs(ff: FF, count: int) -> None:
    """Wait until `count` epochs of running runs are stored."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if sum(run.epochs_done for run in ff.runs() if run.status == "running") >= count:
            return
        time.sleep(0.05)
    pytest.fail("no epoch was stored")


@pytest.fixture
def uninterrupted(inside: Inside) -> Inside:
    """Return `ff` with another database, for uninterrupted runs."""
    folder = inside.ff.folder / "uninterrupted"
    folder.mkdir()
    return type(inside)(FF(folder, inside.ff.data))


def test_sweep_equals_single_runs_and_trains_nothing_twice(inside: Inside, uninterrupted: Inside) -> None:
    swept = inside.json("sweep", *GRID, "--workers", "2")
    assert (swept["done"], swept["cached"], swept["failed"]) == (4, 0, 0)
    again = inside.json("sweep", *GRID, "--workers", "2")
    assert (again["done"], again["cached"]) == (0, 4)

    for cell in swept["cells"]:
        config = cell["config"]
        phases = ("--pos-phase", str(config["pos_phase"]), "--neg", config["neg"])
        alone = uninterrupted.json("train", *SMALL, "--epochs", "3", *phases)
        assert alone["key"] == cell["key"]
        (accuracies, weights), (others, other_weights) = (
            trained(inside.ff, cell["id"]),
            trained(uninterrupted.ff, alone["id"]),
        )
        assert accuracies == others
        assert all((weights[name] == other_weights[name]).all() for name in weights)


def test_longer_request_continues_a_run_of_a_sweep(inside: Inside, uninterrupted: Inside) -> None:
    """The second sweep begins with the state that the first one kept, and sends it to the worker."""
    grid = ("sweep", *SMALL, "--pos-phase", "1", "--workers", "1")
    inside(*grid, "--epochs", "2")
    [cell] = inside.json(*grid, "--epochs", "4")["cells"]
    assert [stretch.from_epoch for run in inside.ff.runs() for stretch in run.provenance] == [0, 2]
    alone = uninterrupted.json("train", *SMALL, "--epochs", "4")
    assert trained(uninterrupted.ff, alone["id"])[0] == trained(inside.ff, cell["id"])[0]

    inside(*grid, "--epochs", "1", "--seeds", "1", "--keep-state", "never")
    [run] = [run for run in inside.ff.runs() if run.config.seed == 1]
    assert [path.name for path in (inside.ff.folder / "ff.db.states").glob(f"{run.id}*")] == [
        f"{run.id}.weights.safetensors"
    ]


def test_killed_sweep_or_worker_loses_nothing(inside: Inside, uninterrupted: Inside) -> None:
    ff, grid = inside.ff, ("sweep", *SMALL, "--pos-phase", "1,2")
    with ff.started(*grid, "--epochs", "4000", "--workers", "2", "--save-every", "0.2") as driver:
        wait_for_epochs(ff, 40)
        workers_of(driver)[0].kill()
        wait_for_line(driver, "was lost: trying again from the last saved epoch")
        wait_for_epochs(ff, sum(run.epochs_done for run in ff.runs()) + 4)
        left = workers_of(driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    psutil.wait_procs(left, timeout=120)
    assert not any(p.is_running() for p in left), "workers outlived their driver"
    before = by_key(ff)
    assert {run.status for run in before.values()} == {"interrupted"}

    epochs = str(max(run.epochs_done for run in before.values()) + 1)
    assert inside.json(*grid, "--epochs", epochs, "--workers", "1")["done"] == 2
    after = by_key(ff)
    assert {key: run.id for key, run in after.items()} == {key: run.id for key, run in before.items()}
    for positive in ("1", "2"):
        alone = uninterrupted.json("train", *SMALL, "--pos-phase", positive, "--epochs", epochs)
        assert trained(uninterrupted.ff, alone["id"])[0] == trained(ff, after[alone["key"]].id)[0]


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    if not any(text in line for line in process.stderr):
        pytest.fail(f"the sweep ended without {text!r}")


def test_two_sweeps_at_once_share_the_work(ff: FF) -> None:
    with (
        ff.started("sweep", *GRID, "--workers", "1", "--json") as one,
        ff.started("sweep", *GRID, "--workers", "1", "--json") as other,
    ):
        results = [json.loads(process.communicate()[0]) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0]
    assert sum(result["done"] for result in results) == 4
    assert all(result["done"] + result["cached"] == 4 for result in results)
    assert len(ff.runs()) == 4


def test_ctrl_c_stops_after_the_current_epochs(ff: FF) -> None:
    with ff.started("sweep", *SMALL, "--pos-phase", "1,2", "--epochs", "4000", "--workers", "2") as driver:
        wait_for_epochs(ff, 2)
        driver.send_signal(signal.SIGINT)
        _, messages = driver.communicate()
    assert driver.returncode == 130
    assert "stopping at the end of the epochs under way" in messages
    assert "the same command continues" in messages
    assert [run.status for run in ff.runs()] == ["interrupted", "interrupted"]


def test_sigterm_stops_at_once_with_one_line(ff: FF) -> None:
    with ff.started("sweep", *SMALL, "--pos-phase", "1", "--epochs", "4000", "--workers", "1", "--quiet") as driver:
        wait_for_epochs(ff, 1)
        driver.send_signal(signal.SIGTERM)
        output, messages = driver.communicate()
    assert (driver.returncode, output) == (130, "")
    lines = [line for line in messages.splitlines() if not line.startswith("preparing")]
    assert lines == ["ff: stopped: everything that was trained is saved, and the same command continues"]
    assert [run.status for run in ff.runs()] == ["interrupted"]


def test_failing_cell_is_stored_and_the_others_continue(inside: Inside) -> None:
    grid = ("sweep", *SMALL, "--epochs", "1", "--workers", "1")
    output, messages = inside(*grid, "--lr", "0.05,1e30", "--json", code=1)
    cells = {cell["config"]["lr"]: cell for cell in json.loads(output)["cells"]}
    assert (cells[0.05]["status"], cells[1e30]["status"]) == ("done", "failed")
    assert "diverged in epoch 1" in cells[1e30]["reason"]
    assert messages.count("diverged in epoch 1") == 1
    assert {run.failure_kind for run in inside.ff.runs()} == {None, "diverged"}
    again = "".join(inside(*grid, "--lr", "1e30", code=1))
    assert again.count("diverged in epoch 1") == 1
    assert "--force" not in again


def test_cell_fails_after_losing_four_workers(ff: FF) -> None:
    with ff.started("sweep", *SMALL, "--epochs", "4000", "--pos-phase", "2", "--workers", "1") as driver:
        seen: set[int] = set()
        while driver.poll() is None:
            # Killed before its first epoch: each loss follows the one before.
            for worker in workers_of(driver):
                if worker.pid not in seen and any(run.status == "running" for run in ff.runs()):
                    seen.add(worker.pid)
                    worker.kill()
            time.sleep(0.01)
    assert driver.returncode == 1
    (run,) = ff.runs()
    assert (run.status, run.failure_kind, run.diverged) == ("failed", "worker lost", False)


def test_worker_that_hangs_is_replaced(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    # Dask waits for ten heartbeats, which are half a second apart, whatever is set.
    monkeypatch.setitem(cluster.LOCAL_SETTINGS, "distributed.scheduler.worker-ttl", "1s")
    submit, stopped = workers.DaskWorkers.submit, list[int]()

    def submit_and_stop(self: workers.DaskWorkers, name: str, assignment: Assignment, saved: Arrays | None) -> Site:
        site = submit(self, name, assignment, saved)
        if not stopped:
            os.kill(site.pid, signal.SIGSTOP)
            stopped.append(site.pid)
        return site

    monkeypatch.setattr(workers.DaskWorkers, "submit", submit_and_stop)
    _, messages = inside("sweep", *SMALL, "--pos-phase", "1", "--epochs", "1", "--workers", "1")
    assert f"worker {stopped[0]} on " in messages
    assert "was lost: trying again from the last saved epoch" in messages
    assert [run.status for run in inside.ff.runs()] == ["completed"]
    assert not psutil.pid_exists(stopped[0])


def test_tables_of_the_paper_have_52_cells(inside: Inside) -> None:
    plan = inside.json("sweep", "--table", "1", "--table", "2", "--dry-run", "--dataset", "mnist,fashion")
    assert len(plan["cells"]) == plan["missing"] == 52
    assert not inside.ff.db.exists()
    operations = [cell["estimated_seconds"] for cell in plan["cells"]]
    assert operations == sorted(operations, reverse=True)


def test_options_override_a_grid_file(inside: Inside, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'dataset = "mnist"\nhidden = [30, 20]\npos_phase = [1, 2]\nseeds = "0-2"\nbalanced = true\nepochs = 3\n'
    )
    plan = inside.json("sweep", "--grid", str(grid), "--epochs", "2", "--dry-run")
    found = {(c["config"]["pos_phase"], c["config"]["neg_phase"], c["config"]["seed"]) for c in plan["cells"]}
    assert found == {(n, n, seed) for n in (1, 2) for seed in (0, 1, 2)}
    assert {(tuple(c["config"]["hidden"]), c["config"]["epochs"]) for c in plan["cells"]} == {((30, 20), 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to sweep"),
        (("--table", "3"), "the paper has tables 1 and 2"),
        (("--table", "1", "--pos-phase", "3"), "--table defines the phases"),
        (("--pos-phase", "1,,2"), "give values separated by ','"),
        (("--pos-phase", "0"), "--pos-phase should be"),
        (("--seeds", "4-1"), "give seeds such as"),
        (("--neg", "label,mask"), "did you mean 'masks'"),
        (("--pos-phase", "1", "--workers", "0"), "--workers should be at least 1"),
        (("--pos-phase", "1", "--eval-every", "0"), "--eval-every should be at least 1"),
        (("--pos-phase", "1", "--threads", "0"), "--threads should be at least 1"),
        (("--pos-phase", "1", "--threads", "5000"), "--threads should be at most 1024"),
        (("--balanced", "--pos-phase", "1,2", "--neg-phase", "1,2"), "leave out --balanced or --neg-phase"),
        (("--table", "2", "--balanced"), "leave out --balanced or --table"),
    ],
)
def test_bad_sweeps_are_refused(inside: Inside, arguments: tuple[str, ...], message: str) -> None:
    assert message in inside.refused("sweep", *arguments)
    assert not inside.ff.db.exists() or inside.ff.runs() == []
