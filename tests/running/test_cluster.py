"""Sweeps on a Dask scheduler and workers of their own, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from distributed import Client, LocalCluster, Nanny
from ff import FF
from safetensors.numpy import load_file

import ffcli
from ffcli.data.datasets import locate
from ffcli.planning import resolve
from ffcli.running import cluster as running_cluster
from ffcli.running.handshake import site
from ffcli.running.messages import Assignment, EpochDone, Gone, Part, Task
from ffcli.running.worker import train_part
from ffcli.running.workers import dask_workers
from ffcli.settings import Settings

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

SMALL = ("--dataset", "mnist", "--hidden", "8")
GRID = (*SMALL, "--epochs", "3", "--pos-phase", "1,2")


@dataclass
class Cluster:
    """A scheduler of its own and its workers, each with its own data folder."""

    ff: FF
    folder: Path
    running: ExitStack
    scheduler: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return str(self.folder / "scheduler.json")

    def start_scheduler(self, port: int = 0) -> int:
        """Start the scheduler, and return its port."""
        Path(self.address).unlink(missing_ok=True)
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        self.scheduler = subprocess.Popen(
            [*command, "--scheduler-file", self.address, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
            stderr=subprocess.DEVNULL,
        )
        self.running.callback(self.scheduler.wait)
        self.running.callback(self.scheduler.kill)
        wait_for(lambda: os.path.exists(self.address))
        return int(json.loads(Path(self.address).read_text())["address"].rpartition(":")[2])

    def start_worker(self, data: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        data = data or self.folder / f"data-{len(list(self.folder.iterdir()))}"
        environment = {"FFCLI_DATA_DIR": str(data), **environment}
        return self.running.enter_context(self.ff.started("worker", self.address, "--workers", "1", **environment))

    def sweep(self, *arguments: str) -> Any:
        return self.ff.started("sweep", *arguments, "--cluster", self.address)


@pytest.fixture
def cluster(ff: FF, tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ExitStack() as running:
        yield Cluster(ff, folder, running)


def wait_for(true: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until, "this takes too long"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    output, messages = process.communicate(timeout=200)
    assert process.returncode == code, output + messages
    assert "Traceback" not in messages
    return output, messages


def results(ff: FF) -> dict[str, Any]:
    """Return final accuracy and weights of the completed runs, by key."""
    found = {}
    for run in ff.runs():
        assert run.status == "completed"
        weights = load_file(ff.folder / "ff.db.states" / f"{run.id}.weights.safetensors")
        found[run.key] = (run.final_accuracy, {name: array.tobytes() for name, array in weights.items()})
    return found


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> dict[str, Any]:
    """The results of GRID by single runs."""
    ff = FF(tmp_path_factory.mktemp("expected"), data_folder)
    for positive in ("1", "2"):
        ff("train", *SMALL, "--epochs", "3", "--pos-phase", positive)
    return results(ff)


def test_workers_in_folders_of_their_own_give_the_bits_of_single_runs(
    cluster: Cluster, expected: dict[str, Any]
) -> None:
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()
    with cluster.sweep(*GRID) as sweep:
        ended(sweep)
    assert results(cluster.ff) == expected


def test_worker_with_a_full_disk_receives_the_data(cluster: Cluster, expected: dict[str, Any], tiny_disk: Path) -> None:
    cluster.start_scheduler()
    cluster.start_worker(data=tiny_disk / "data")
    with cluster.sweep(*GRID) as sweep:
        ended(sweep)
    assert results(cluster.ff) == expected
    assert not list(tiny_disk.rglob("*.safetensors"))


def test_worker_of_another_version_is_refused_and_a_late_one_is_used(
    cluster: Cluster, expected: dict[str, Any], tmp_path: Path
) -> None:
    copy = tmp_path / "other" / "ffcli"
    shutil.copytree(Path(ffcli.__file__).parent, copy)
    init = copy / "__init__.py"
    init.write_text(init.read_text().replace(f'"{ffcli.__version__}"', '"0.0.1"'))
    cluster.start_scheduler()
    cluster.start_worker(PYTHONPATH=str(copy.parent), PYTHONSAFEPATH="1")
    with cluster.sweep(*GRID) as sweep:
        assert sweep.stderr is not None
        line = next(line for line in sweep.stderr if "not used" in line)
        assert f"it has ffcli 0.0.1, the sweep {ffcli.__version__}" in line
        assert cluster.ff.runs() == []
        cluster.start_worker()
        ended(sweep)
    assert results(cluster.ff) == expected


def test_scheduler_that_is_killed_ends_the_sweep_and_the_same_command_continues(
    cluster: Cluster, expected: dict[str, Any]
) -> None:
    port = cluster.start_scheduler()
    cluster.start_worker()
    with cluster.sweep(*SMALL, "--epochs", "4000", "--pos-phase", "1,2", "--save-every", "0.1") as sweep:
        wait_for(lambda: sum(run.epochs_done for run in cluster.ff.runs()) > 3)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        _, messages = ended(sweep, 1)
    assert messages.splitlines()[-1].startswith("ff: the scheduler is gone: ")
    assert {run.status for run in cluster.ff.runs()} <= {"interrupted"}

    # The worker finds the new scheduler by itself.
    cluster.start_scheduler(port)
    with cluster.sweep(*GRID) as sweep:
        ended(sweep)
    assert {key: value[0] for key, value in first_epochs(cluster.ff).items()} == {
        key: value[0] for key, value in expected.items()
    }


def first_epochs(ff: FF) -> dict[str, Any]:
    """Return the accuracy after epoch 3 of each run, by key."""
    shown = (ff.json("show", run.id) for run in ff.runs())
    return {run["key"]: (next(e["accuracy"] for e in run["epochs"] if e["epoch"] == 3),) for run in shown}


def test_driver_that_is_killed_leaves_the_workers_to_the_next_one(cluster: Cluster, expected: dict[str, Any]) -> None:
    cluster.start_scheduler()
    worker = cluster.start_worker()
    with cluster.sweep(*SMALL, "--epochs", "4000", "--pos-phase", "1,2", "--save-every", "0.1") as sweep:
        wait_for(lambda: sum(run.epochs_done for run in cluster.ff.runs()) > 3)
        sweep.kill()
        sweep.wait()
    with cluster.sweep(*GRID) as sweep:
        ended(sweep)
    assert {key: value[0] for key, value in first_epochs(cluster.ff).items()} == {
        key: value[0] for key, value in expected.items()
    }
    worker.send_signal(signal.SIGINT)
    assert ended(worker, 130)[1].endswith("ff: the workers ended: their sweeps continue the runs elsewhere\n")


def test_part_that_runs_twice_changes_nothing(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFCLI_DATA_DIR", str(data_folder))
    ref = locate("mnist", wanted="sample", folder=data_folder, notify=lambda _: None)
    config = resolve(Settings(hidden=(8,), epochs=3), ref)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as client,
    ):
        process = client.submit(site, pure=False).result().process

        def part(number: int) -> Any:
            task = Task(Assignment(config, "cpu"), "one", process, number, 0.0, "topic")
            return client.submit(train_part, task, pure=False).result()

        first, again = part(0), part(0)
        assert isinstance(first, Part)
        assert isinstance(again, Part)
        assert first.epoch == again.epoch == 0
        assert all((first.arrays[name] == again.arrays[name]).all() for name in first.arrays)
        second = part(1)
        assert isinstance(second, Part)
        assert [metrics.epoch for metrics in second.epochs] == [1]
        assert isinstance(part(1), Gone)
        third = part(2)
        assert isinstance(third, Part)
        assert third.epoch == 2


def test_worker_trains_the_next_run_while_the_last_state_is_fetched(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps at most one state that was not fetched."""
    monkeypatch.setenv("FFCLI_DATA_DIR", str(data_folder))
    ref = locate("mnist", wanted="sample", folder=data_folder, notify=lambda _: None)
    runs = {str(seed): resolve(Settings(hidden=(8,), epochs=1, seed=seed), ref) for seed in range(2)}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as local,
        Client(local, set_as_default=False) as client,
        dask_workers(client, list(runs.values()), data_folder, 30.0, lambda _: None) as workers,
    ):
        gather, may_fetch = client.gather, threading.Event()

        def gather_later(*given: Any, **options: Any) -> Any:
            may_fetch.wait()
            return gather(*given, **options)

        monkeypatch.setattr(client, "gather", gather_later)
        fetched, trained = list[str](), list[str]()

        def wait_until(true: Callable[[], bool]) -> None:
            def look() -> bool:
                for name, message in workers.messages(0.1):
                    if isinstance(message, Part):
                        fetched.append(name)
                    elif isinstance(message, EpochDone) and message.metrics.epoch == 1:
                        trained.append(name)
                return true()

            wait_for(look)

        try:
            for name, config in runs.items():
                wait_until(lambda: workers.free == 1)
                workers.submit(name, Assignment(config, "cpu"), None)
            wait_until(lambda: len(trained) == 2)
            until = time.monotonic() + 2
            wait_until(lambda: time.monotonic() > until)
            assert workers.free == 0
        finally:
            may_fetch.set()
        wait_until(lambda: len(fetched) == 2)
        assert (sorted(fetched), workers.free) == (["0", "1"], 1)


def test_local_cluster_ends_although_dask_cannot_stop_a_worker(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask 2025.12 waits for ever for a worker that was just being started again."""

    async def never(*given: Any, **options: Any) -> None:
        await asyncio.Event().wait()

    before = set(psutil.Process().children())
    with running_cluster.local_cluster(["cpu"], data_folder, print):
        monkeypatch.setattr(Nanny, "kill", never)
    for child in set(psutil.Process().children()) - before:
        child.kill()


def test_local_cluster_listens_on_this_machine_only(ff: FF) -> None:
    with ff.started("sweep", *SMALL, "--epochs", "4000", "--pos-phase", "1", "--workers", "1") as sweep:
        wait_for(lambda: ff.db.exists() and any(run.epochs_done for run in ff.runs()))
        here = psutil.Process(sweep.pid)
        listening = {
            connection.laddr.ip
            for process in [here, *here.children(recursive=True)]
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("node7", "'node7' is no cluster: give an address such as tcp://node7:8786"),
        ("tls://127.0.0.1:9", "tls://127.0.0.1:9 needs the certificates of TLS in Dask's configuration"),
        ("missing.json", "missing.json does not exist: `dask scheduler --scheduler-file missing.json` writes it"),
    ],
)
def test_address_that_is_none_is_refused(ff: FF, address: str, message: str) -> None:
    assert message in ff("sweep", *GRID, "--cluster", address, code=2).stderr
    assert message in ff("worker", address, code=2).stderr
    assert ff.runs() == []


def test_scheduler_that_does_not_answer_is_one_line(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_cluster, "CONNECT_SECONDS", 0.5)
    line = inside("sweep", *GRID, "--cluster", "tcp://127.0.0.1:9", code=1).stderr.splitlines()[-1]
    assert line == "ff: no scheduler answers at tcp://127.0.0.1:9: `dask scheduler` starts one"
