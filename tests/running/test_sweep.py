"""Sweeps with real worker processes: nothing twice, nothing lost, the same bits."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ff import FF
from safetensors.numpy import load_file

from ffcli.records import RunRecord
from ffcli.store.database import open_store
from ffcli.store.runs import epochs

GRID = ("--dataset", "mnist", "--hidden", "30,20", "--epochs", "6", "--pos-phase", "1,2", "--neg", "label,masks")


def by_key(ff: FF) -> dict[str, RunRecord]:
    return {run.key: run for run in ff.runs()}


def trained(ff: FF, run_id: str) -> tuple[list[float | None], dict[str, Any]]:
    """Accuracy of every epoch, and the final weights."""
    with open_store(ff.db) as store:
        accuracies = [e.accuracy for e in epochs(store, run_id)]
    return accuracies, load_file(ff.folder / "ff.states" / f"{run_id}.weights.safetensors")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [p for p in psutil.Process(process.pid).children() if "ffcli.running.worker" in p.cmdline()]


def wait_for_epochs(ff: FF, count: int) -> None:
    """Until so many epochs of runs under way are stored."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        if sum(run.epochs_done for run in ff.runs() if run.status == "running") >= count:
            return
        time.sleep(0.05)
    pytest.fail("no epoch was stored")


@pytest.fixture
def straight(tmp_path: Path, data_folder: Path) -> FF:
    """Another database, for the undisturbed sweep."""
    (tmp_path / "straight").mkdir()
    return FF(tmp_path / "straight", data_folder)


def test_any_number_of_workers_gives_the_same_bits_and_nothing_is_trained_twice(ff: FF, straight: FF) -> None:
    swept = ff.json("sweep", *GRID, "--workers", "2")
    assert (swept["done"], swept["cached"], swept["failed"]) == (4, 0, 0)
    again = ff.json("sweep", *GRID, "--workers", "2")
    assert (again["done"], again["cached"]) == (0, 4)

    for cell in swept["cells"]:
        config = cell["config"]
        phases = ("--pos-phase", str(config["pos_phase"]), "--neg", config["neg"])
        alone = straight.json("train", "--dataset", "mnist", "--hidden", "30,20", "--epochs", "6", *phases)
        assert alone["key"] == cell["key"]
        (accuracies, weights), (others, other_weights) = trained(ff, cell["id"]), trained(straight, alone["id"])
        assert accuracies == others
        assert all((weights[name] == other_weights[name]).all() for name in weights)


def test_killed_driver_and_killed_worker_lose_nothing(ff: FF, straight: FF) -> None:
    grid = (*GRID[:5], "16", *GRID[6:])
    with ff.started("sweep", *grid, "--workers", "2") as driver:
        wait_for_epochs(ff, 4)
        left = workers_of(driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    psutil.wait_procs(left, timeout=60)
    assert not any(p.is_running() for p in left), "workers outlived their driver"
    before = by_key(ff)
    assert {run.status for run in before.values()} == {"interrupted"}

    with ff.started("sweep", *grid, "--workers", "2", "--json") as driver:
        wait_for_epochs(ff, sum(run.epochs_done for run in before.values()) + 4)
        workers_of(driver)[0].kill()
        output, messages = driver.communicate(timeout=200)
    assert driver.returncode == 0, messages
    assert "killed by signal 9: trying again" in messages
    assert json.loads(output)["done"] == 4
    after = by_key(ff)
    assert all(after[key].id == run.id for key, run in before.items())

    straight("sweep", *grid, "--workers", "1")
    for key, run in by_key(straight).items():
        assert trained(straight, run.id)[0] == trained(ff, after[key].id)[0]


def test_two_sweeps_at_once_share_the_work(ff: FF) -> None:
    with (
        ff.started("sweep", *GRID, "--workers", "1", "--json") as one,
        ff.started("sweep", *GRID, "--workers", "1", "--json") as other,
    ):
        ended = [json.loads(process.communicate(timeout=200)[0]) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0]
    assert sum(answer["done"] for answer in ended) == 4
    assert all(answer["done"] + answer["cached"] == 4 for answer in ended)
    assert len(ff.runs()) == 4


def test_ctrl_c_once_ends_the_epochs_under_way(ff: FF) -> None:
    with ff.started("sweep", *GRID[:5], "4000", *GRID[6:], "--workers", "2") as driver:
        wait_for_epochs(ff, 2)
        driver.send_signal(signal.SIGINT)
        _, messages = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "stopping at the end of the epochs under way" in messages
    assert "the same command continues" in messages
    assert [run.status for run in ff.runs()] == ["interrupted", "interrupted"]


def test_a_failing_cell_is_recorded_while_the_others_go_on(ff: FF) -> None:
    done = ff("sweep", "--dataset", "mnist", "--hidden", "30", "--epochs", "1", "--lr", "0.05,1e30", "--json", code=1)
    cells = {cell["config"]["lr"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert (cells[0.05]["status"], cells[1e30]["status"]) == ("done", "failed")
    assert "diverged in epoch 1" in cells[1e30]["reason"]
    assert done.stderr.count("diverged in epoch 1") == 1
    again = ff("sweep", "--dataset", "mnist", "--hidden", "30", "--epochs", "1", "--lr", "1e30", code=1)
    assert (again.stdout + again.stderr).count("diverged in epoch 1") == 1
    assert "--force" not in again.stderr


def test_the_papers_tables_are_52_cells(ff: FF) -> None:
    plan = ff.json("sweep", "--table", "1", "--table", "2", "--dry-run", "--dataset", "mnist,fashion")
    assert len(plan["cells"]) == plan["missing"] == 52
    assert not ff.db.exists()
    operations = [cell["estimated_seconds"] for cell in plan["cells"]]
    assert operations == sorted(operations, reverse=True)


def test_a_grid_file_and_flags_before_it(ff: FF, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'dataset = "mnist"\nhidden = [30, 20]\npos_phase = [1, 2]\nseeds = "0-2"\nbalanced = true\nepochs = 3\n'
    )
    plan = ff.json("sweep", "--grid", str(grid), "--epochs", "2", "--dry-run")
    found = {(c["config"]["pos_phase"], c["config"]["neg_phase"], c["config"]["seed"]) for c in plan["cells"]}
    assert found == {(n, n, seed) for n in (1, 2) for seed in (0, 1, 2)}
    assert {(tuple(c["config"]["hidden"]), c["config"]["epochs"]) for c in plan["cells"]} == {((30, 20), 2)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to sweep"),
        (("--table", "3"), "the paper has tables 1 and 2"),
        (("--table", "1", "--pos-phase", "3"), "--table brings its own phases"),
        (("--pos-phase", "1,,2"), "give values with commas between"),
        (("--pos-phase", "0"), "--pos-phase should be"),
        (("--seeds", "4-1"), "give seeds such as"),
        (("--neg", "label,mask"), "did you mean 'masks'"),
        (("--pos-phase", "1", "--workers", "0"), "--workers should be at least 1"),
    ],
)
def test_bad_sweeps(ff: FF, arguments: tuple[str, ...], said: str) -> None:
    assert said in ff("sweep", *arguments, code=2).stderr
    assert not ff.db.exists() or ff.runs() == []
