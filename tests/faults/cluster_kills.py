"""Kill scheduler, workers and driver of a sweep at random times, start them again, and compare with single runs.

The processes are those of a cluster: a Dask scheduler, two `ff worker` in folders of their own, and `ff sweep
--cluster`. The sweep trains both tables of the paper with a tiny network.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from .campaign import Case, Problems
from .warm import PATIENCE, start
from .world import NEVER, Bits, World, bits, check_sound, copy, database, differences, worker_processes

KILLS = 10
SETTINGS = (
    "--table", "1", "--table", "2", "--data", "sample", "--hidden", "8", "--epochs", "8", "--threads", "1",
    "--device", "cpu",
)  # fmt: skip
SWEEP_SECONDS = 240.0
"""Time after which an undisturbed sweep counts as hanging."""


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield cases of killed clusters."""
    reference = copy(world.empty, folder / "reference")
    done = start("sweep", *SETTINGS, "--workers", "1", "--quiet", folder=reference).wait(PATIENCE)
    assert done.code == 0, done
    for number in range(max(1, round(scale))):
        check = partial(_killed_cluster, bits(reference))
        yield Case("random kills of scheduler, workers and driver", f"cluster/{number}", check)


@dataclass
class Cluster:
    """The processes of a cluster, each started again when it is missing."""

    folder: Path
    running: ExitStack
    port: int = field(default_factory=lambda: _free_port())
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ensure(self) -> None:
        """Start what does not run."""
        scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port)]
        self._ensure("scheduler", *scheduler, "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        for name in ("worker 1", "worker 2"):
            self._ensure(name, "-m", "ffcli", "worker", self.address, "--workers", "1")
        self._ensure("driver", "-m", "ffcli", "sweep", *SETTINGS, "--cluster", self.address, "--save-every", "0.3")

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def _ensure(self, name: str, *arguments: str) -> None:
        old = self.processes.get(name)
        if old is not None and old.poll() is None:
            return
        place = self.folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        environment = {
            **os.environ, "FFCLI_DB": str(database(self.folder)), "FFCLI_DATA_DIR": str(place / "data"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        log = self.running.enter_context((place / "log").open("ab"))
        process = subprocess.Popen([sys.executable, *arguments], cwd=place, env=environment, stdout=log, stderr=log)
        self.running.callback(process.wait)
        self.running.callback(_kill, process.pid)
        self.processes[name] = process

    def messages(self) -> str:
        """What `ff` printed; Dask's scheduler reports its errors in its own way."""
        return "".join((self.folder / name / "log").read_text() for name in ("worker-1", "worker-2", "driver"))


def _killed_cluster(expected: Bits, rng: random.Random, folder: Path) -> Problems:
    (folder / "db").mkdir()
    with ExitStack() as running:
        cluster = Cluster(folder, running)
        for _ in range(KILLS):
            cluster.ensure()
            time.sleep(rng.uniform(2.0, 6.0))
            yield from _kill_one(cluster, rng)
        until = time.monotonic() + SWEEP_SECONDS
        cluster.ensure()
        while (code := cluster.processes["driver"].poll()) != 0:
            if code is not None:
                cluster.ensure()
            if time.monotonic() > until:
                yield f"the sweep does not end: {cluster.messages()[-1000:]}"
                return
            time.sleep(0.1)
        yield from (
            f"`ff` printed: {line}" for line in cluster.messages().splitlines() if any(w in line for w in NEVER)
        )
    yield from check_sound(folder)
    yield from differences(bits(folder), expected)


def _kill_one(cluster: Cluster, rng: random.Random) -> Iterator[int]:
    """Kill the scheduler, the driver, a whole `ff worker`, or only its worker process, which it replaces."""
    name = rng.choice(sorted(cluster.processes))
    victim = psutil.Process(cluster.processes[name].pid)
    with suppress(psutil.Error):
        children = worker_processes(victim)
        if name.startswith("worker") and children and rng.random() < 0.5:
            victim = children[0]
        victim.kill()
        yield 1


def _kill(pid: int) -> None:
    with suppress(psutil.Error):
        psutil.Process(pid).kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
