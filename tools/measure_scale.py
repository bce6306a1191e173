"""Measure how sweeps scale: the numbers of docs/scale.md.

python tools/measure_scale.py pool --other ../an-older-checkout     # two versions of the program, interleaved
python tools/measure_scale.py driver --workers 100 300 1000         # capacity of the sweep's own process
python tools/measure_scale.py study results/scaled.db               # the study on more workers, by arithmetic
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import heapq
import json
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
import psutil
import torch
from distributed import Worker, get_worker

from ffcli.cli.live import QuietSweep
from ffcli.data.datasets import locate
from ffcli.engine.training import initial_state, state_arrays
from ffcli.estimate import seconds_left
from ffcli.machine import provenance
from ffcli.planning import resolve, table_cells
from ffcli.records import EpochMetrics
from ffcli.running import worker as running_worker
from ffcli.running.cluster import remote_cluster
from ffcli.running.messages import BEGAN, METRICS, Began, Part, Task
from ffcli.running.run import Request
from ffcli.running.sweep import Cell, sweep
from ffcli.running.worker import silence_dask
from ffcli.running.workers import dask_workers
from ffcli.settings import Settings
from ffcli.store.database import open_store, open_to_read
from ffcli.store.runs import list_runs
from ffcli.store.timings import timings

ROOT = Path(__file__).parents[1]
GRID = ("--dataset", "mnist", "--pos-phase", "1", "--seeds", "0-15", "--epochs", "2", "--workers", "2", "--quiet")
"""16 equal cells."""

MEMORY_SECONDS = 2.0
"""Time between two looks at the memory, which takes some time itself."""

WARM_UP = 45.0
"""Seconds before the measurement: the first states have arrived, and runs no longer begin together."""

ORDERS = 1000
"""Random orders of the study."""

HOSTS = 4
"""Processes that the workers without training share."""

EPOCH = EpochMetrics(
    epoch=0, hour=118, phase="positive", accuracy=50.0, validation_accuracy=None, loss_positive=0.7, loss_negative=0.7,
    goodness_positive=(1.5, 1.5, 1.5), goodness_negative=(1.4, 1.4, 1.4), dead_units=(0.1, 0.1, 0.1), seconds=0.0,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pool = commands.add_parser("pool", help="one machine: this checkout against another one")
    pool.add_argument("--other", type=Path, required=True)
    pool.add_argument("--pairs", type=int, default=3)
    pool.set_defaults(run=lambda given: compare_pools(given.other, given.pairs))
    driver = commands.add_parser("driver", help="capacity of the sweep's own process")
    driver.add_argument("--workers", type=int, nargs="+", default=[100, 300, 1000])
    driver.add_argument("--epoch-seconds", type=float, default=2.5)
    driver.add_argument("--seconds", type=float, default=60.0)
    driver.add_argument("--save-every", type=float, default=30.0)
    driver.add_argument("--profile", action="store_true", help="print where the thread of the sweep spends its time")
    driver.add_argument("--hidden", type=int, nargs="+", default=[500, 500, 500], help="decides the size of a state")
    driver.set_defaults(
        run=lambda given: measure_driver(
            given.workers, given.epoch_seconds, given.seconds, tuple(given.hidden), given.save_every, given.profile
        )
    )
    other = commands.add_parser("stand-in", help="workers that do not train; started by `driver`")
    other.add_argument("address")
    other.add_argument("number", type=int)
    other.add_argument("epoch_seconds", type=float)
    other.set_defaults(run=lambda given: stand_in(given.address, given.number, given.epoch_seconds))
    study = commands.add_parser("study", help="the study on more workers, simulated from measured epochs")
    study.add_argument("database", type=Path)
    study.set_defaults(run=lambda given: simulate_study(given.database))
    given = parser.parse_args()
    given.run(given)


def compare_pools(other: Path, pairs: int) -> None:
    """Run the same sweep with two versions of the program, interleaved, and print ratios."""
    found: dict[str, list[tuple[float, float, float]]] = {"this": [], "other": []}
    for _ in range(pairs):
        for name, tree in (("other", other.resolve()), ("this", ROOT)):
            found[name].append(run_sweep(tree))
            seconds, first, memory = found[name][-1]
            print(
                f"{name:6} {seconds:7.2f} s, first epoch {first:5.2f} s, memory {memory / 2**20:,.0f} MiB", flush=True
            )
    for number, what in enumerate(("wall time", "first epoch", "peak memory")):
        ratios = [new[number] / old[number] for new, old in zip(found["this"], found["other"], strict=True)]
        print(f"{what}: this / other = {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def run_sweep(tree: Path) -> tuple[float, float, float]:
    """Return seconds in all, seconds until the first epoch is stored, and the largest memory of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        database, environment = Path(folder) / "sweep.db", {**os.environ, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-m", "ffcli", "sweep", *GRID, "--db", str(database)]
        started, first, memory = time.monotonic(), 0.0, 0.0
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        looked = started
        while process.poll() is None:
            if not first and _has_epoch(database):
                first = time.monotonic() - started
            if time.monotonic() - looked > MEMORY_SECONDS:
                memory, looked = max(memory, _memory(process)), time.monotonic()
            time.sleep(0.1)
        assert process.returncode == 0
        return time.monotonic() - started, first, memory


def _memory(process: psutil.Process) -> float:
    """Memory of a process and its children; what they share counts once."""
    total = 0.0
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


def _has_epoch(database: Path) -> bool:
    if not database.exists():
        return False
    with suppress(Exception), open_to_read(database) as store:
        return any(run.epochs_done for run in list_runs(store))
    return False


class Window(QuietSweep):
    """Counts the epochs that are recorded in a stretch of time, then ends the sweep."""

    def __init__(self, after: float, seconds: float, processes: dict[str, list[psutil.Process]]) -> None:
        self.opens, self.closes = time.monotonic() + after, time.monotonic() + after + seconds
        self.processes, self.delays = processes, list[float]()
        self.before: dict[str, float] | None = None

    def changed(self, cell: Cell) -> None:
        now = time.monotonic()
        if now < self.opens or cell.metrics is None or cell.status != "running":
            return
        if self.before is None:
            self.before, self.opened = self.usage(), now
        # A stand-in says when its epoch ended.
        self.delays.append(time.time() - cell.metrics.seconds)
        if now > self.closes:
            self.elapsed, after = now - self.opened, self.usage()
            self.used = {name: (after[name] - self.before[name]) / self.elapsed for name in after}
            raise KeyboardInterrupt

    def usage(self) -> dict[str, float]:
        found = {name: sum(sum(each.cpu_times()[:2]) for each in group) for name, group in self.processes.items()}
        return found | {"network": float(psutil.net_io_counters(pernic=True)["lo"].bytes_recv)}


def measure_driver(
    numbers: Sequence[int], epoch_seconds: float, seconds: float, hidden: tuple[int, ...], save_every: float,
    profile: bool,
) -> None:  # fmt: skip
    """Print what recording the epochs of many workers costs. The workers do not train: they wait, and send a state."""
    silence_dask()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in numbers:
            _measure_driver(folder / f"{number}", number, epoch_seconds, seconds, hidden, save_every, profile)


def _measure_driver(
    folder: Path, number: int, epoch_seconds: float, seconds: float, hidden: tuple[int, ...], save_every: float,
    profile: bool,
) -> None:  # fmt: skip
    folder.mkdir()
    file = folder / "scheduler.json"
    ref = locate("mnist", wanted="sample", folder=folder / "data", notify=lambda _: None)
    configs = [resolve(Settings(seed=seed, hidden=hidden), ref) for seed in range(3 * number)]
    with ExitStack() as stack:
        scheduler = _start(
            stack, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--scheduler-file", str(file), "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        shares = [str(len(range(process, number, HOSTS))) for process in range(HOSTS)]
        hosts = [_start(stack, __file__, "stand-in", address, share, str(epoch_seconds)) for share in shares]
        store = stack.enter_context(open_store(folder / "runs.db"))
        client = stack.enter_context(remote_cluster(address, None, folder, lambda _: None))
        client.wait_for_workers(number, timeout=300)
        window = Window(WARM_UP, seconds, {"driver": [psutil.Process()], "scheduler": [scheduler], "stand-ins": hosts})
        open_workers = partial(dask_workers, client, configs, folder / "data", save_every, print)
        profiler = cProfile.Profile()
        with suppress(KeyboardInterrupt):
            if profile:
                profiler.enable()
            sweep(configs, Request(), store, open_workers, window)
        if profile:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(20)
        memory = psutil.Process().memory_info().rss
        size = sum(path.stat().st_size for path in folder.glob("runs.db*") if path.is_file())
        epochs = sum(run.epochs_done for run in list_runs(store))
    rate, wanted = len(window.delays) / window.elapsed, number / epoch_seconds
    delays = statistics.quantiles(window.delays, n=20)
    print(
        f"{number:5} workers: {rate:6.1f} epochs/s of {wanted:6.1f}; CPU driver {window.used['driver']:.2f}, scheduler"
        f" {window.used['scheduler']:.2f}, stand-ins {window.used['stand-ins']:.2f} cores; memory of the driver"
        f" {memory / 2**20:,.0f} MiB; {window.used['network'] / 1e6:6.1f} MB/s; delay median"
        f" {statistics.median(delays):.2f} s, 95 % {delays[-1]:.2f} s; database {size / epochs:.0f} bytes/epoch",
        flush=True,
    )


def _start(stack: ExitStack, *arguments: str) -> psutil.Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = psutil.Popen([sys.executable, *arguments], env=environment, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def stand_in(address: str, number: int, epoch_seconds: float) -> None:
    """Run workers in this process that take part in a sweep without training."""
    silence_dask()
    progress: dict[str, int] = {}
    states: dict[tuple[int, ...], dict[str, Any]] = {}

    def part(task: Task, saved: object = None, dataset: object = None) -> Part:
        config, worker = task.assignment.config, get_worker()
        if config.hidden not in states:
            states[config.hidden] = state_arrays(initial_state(config, torch.device("cpu")))
        began = Began(provenance(torch.device("cpu"), 0))
        if task.number == 0:
            progress[task.stretch] = -1
            worker.log_event(task.topic, {"stretch": task.stretch, "began": BEGAN.dump_python(began, mode="json")})
        until, epochs = time.monotonic() + task.seconds, list[EpochMetrics]()
        while progress[task.stretch] < config.epochs and (not epochs or time.monotonic() < until):
            time.sleep(epoch_seconds)
            progress[task.stretch] += 1
            epochs.append(replace(EPOCH, epoch=progress[task.stretch], seconds=time.time()))
            event = {"stretch": task.stretch, "metrics": METRICS.dump_python(epochs[-1], mode="json")}
            worker.log_event(task.topic, event)
        return Part(began, tuple(epochs), states[config.hidden], progress[task.stretch])

    running_worker.train_part = part
    # What hundreds of workers on this machine would measure of themselves would leave no time for the driver.
    dask.config.set({"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "60s"})

    async def serve() -> None:
        workers = [
            Worker(address, nthreads=1, memory_limit=0, host="127.0.0.1", dashboard=False, silence_logs=50)
            for _ in range(number)
        ]
        for start in range(0, number, 20):
            await asyncio.gather(*workers[start : start + 20])
        await asyncio.gather(*(worker.finished() for worker in workers))

    asyncio.run(serve())


def simulate_study(database: Path) -> None:
    """Print how long the study takes on more workers if each trains as fast as those of `database` did."""
    with open_to_read(database) as store:
        runs = [run for run in list_runs(store) if run.epochs_done]
        measured = timings(store, host=runs[0].provenance[-1].host)
    shared = {"preset": "scaled", "precision": "bf16", "eval_every": 10}
    configs = [
        resolve(Settings.model_validate({**shared, **cell, "seed": seed}), runs[0].config.data)
        for cell in table_cells([1, 2])
        for seed in range(3)
    ]
    cost = [seconds_left(config, 0, measured, eval_every=10)[0] for config in configs]
    total, longest = sum(cost), max(cost)
    print(f"{len(cost)} runs, {total / 3600:.1f} hours of one worker, longest run {longest / 3600:.2f} hours")
    for workers in (1, 8, 64, 512):
        first = makespan(sorted(cost, reverse=True), workers)
        orders = [makespan(random.Random(seed).sample(cost, len(cost)), workers) for seed in range(ORDERS)]
        print(
            f"{workers:4} workers: longest first {first / 3600:.2f} h, as in the tables"
            f" {makespan(cost, workers) / 3600:.2f} h, random order {statistics.median(orders) / 3600:.2f} h (median of"
            f" {ORDERS}); efficiency {total / workers / first:.1%}"
        )


def makespan(costs: Sequence[float], workers: int) -> float:
    """Return when the last run ends if each free worker takes the next run."""
    ends = [0.0] * workers
    for cost in costs:
        heapq.heappush(ends, heapq.heappop(ends) + cost)
    return max(ends)


if __name__ == "__main__":
    main()
