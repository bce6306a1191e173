"""Dask clusters: start one on this machine, connect to one, and start workers for one.

Worker processes have one thread each and train one run at a time. Imported only when a sweep has something to train:
importing Dask takes a third of a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from ffcli.errors import BadOption, ClusterLost, MissingPackage
from ffcli.running.worker import silence_dask
from ffcli.text import counted

HERE = "127.0.0.1"
"""A cluster on one machine cannot be reached from others: whoever reaches a scheduler can execute code."""

CONNECT_SECONDS = 10.0
"""Time after which a scheduler is taken to be absent."""

KILL_SECONDS = 0.5
"""Time that a worker of this machine has to exit before it is killed."""

LOOKS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Dask looks at the stacks of all threads every 10 ms, and at its event loop every 20 ms: several per cent of the time
of a training thread."""

WORKER_SETTINGS = {
    **LOOKS,
    # Dask has freed memory returned to the system at once, and every large tensor would fetch its pages again.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}
"""Dask's settings of a worker."""

LOCAL_SETTINGS = {
    **WORKER_SETTINGS,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.work-stealing": False,
}
"""Those of a cluster on this machine: a worker without a sign of life for a minute is replaced."""

JOB_QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
"""Classes of dask-jobqueue by the name for `--cluster`."""

Notice = Callable[[str], None]


def open_cluster(
    address: str | None, devices: Sequence[str], workers: int | None, data_folder: Path, notice: Notice
) -> AbstractContextManager[Client]:
    """Return a context manager of a client: of the cluster at `address`, or of a new one on this machine."""
    if address is None:
        return local_cluster(devices, data_folder, notice)
    return remote_cluster(address, workers, data_folder, notice)


@contextmanager
def local_cluster(devices: Sequence[str], data_folder: Path, notice: Notice) -> Iterator[Client]:
    """Start a scheduler in this process and one worker process per entry of `devices`, and yield a client of them.

    Raises:
        ClusterLost: if they cannot be started.
    """
    _silence()
    scheduler = {"host": HERE, "dashboard": find_spec("bokeh") is not None, "dashboard_address": f"{HERE}:0"}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(LOCAL_SETTINGS))
        try:
            cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": scheduler},
                workers={
                    number: {"cls": Nanny, "options": worker_options(device, data_folder) | {"host": HERE}}
                    for number, device in enumerate(devices)
                },
                silence_logs=logging.CRITICAL,
                shutdown_on_close=False,
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterLost(f"the workers cannot be started: {error}") from error
        stack.callback(_close, cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        if scheduler["dashboard"]:
            notice(f"dashboard of the workers: {client.dashboard_link}")
        yield client


@contextmanager
def remote_cluster(address: str, workers: int | None, data_folder: Path, notice: Notice) -> Iterator[Client]:
    """Yield a client of the cluster that `--cluster` names.

    Args:
        address: of a scheduler, the path of its file, or the name of a job queue.
        workers: number of jobs to start in a job queue.
        data_folder: passed on to the jobs of a job queue.
        notice: shows a line to the user.

    Raises:
        BadOption: if `address` is none of these.
        ClusterLost: if the scheduler does not answer.
        MissingPackage: if dask-jobqueue is needed and not installed.
    """
    silence_dask()
    with ExitStack() as stack:
        if address in JOB_QUEUES:
            where: Any = {"address": stack.enter_context(_job_queue(address, workers, data_folder))}
        else:
            where = scheduler_location(address)
        try:
            with warnings.catch_warnings():
                # Each worker's versions are compared when it is used.
                warnings.simplefilter("ignore")
                client = stack.enter_context(Client(**where, timeout=CONNECT_SECONDS, set_as_default=False))
        except TypeError as error:
            raise _tls_error(address) from error
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterLost(f"no scheduler answers at {address}: `dask scheduler` starts one") from error
        if client.dashboard_link and find_spec("bokeh") is not None:
            notice(f"dashboard of the workers: {client.dashboard_link}")
        yield client


def serve(address: str, devices: Sequence[str], data_folder: Path, notice: Notice) -> None:
    """Run one worker process per entry of `devices` for the scheduler at `address`, until interrupted.

    If the scheduler ends, the workers wait for it to start again.

    Raises:
        BadOption: if `address` is neither an address nor the path of a scheduler's file.
    """
    _silence()
    where = scheduler_location(address)
    with dask.config.set(WORKER_SETTINGS):
        asyncio.run(_serve(where, address, devices, data_folder, notice))


async def _serve(
    where: Mapping[str, str], address: str, devices: Sequence[str], data_folder: Path, notice: Notice
) -> None:
    told = False
    while True:
        nannies = []
        try:
            options = {"scheduler_ip": where["address"]} if "address" in where else dict(where)
            nannies = [Nanny(**options, **worker_options(device, data_folder)) for device in devices]
            await asyncio.wait_for(asyncio.gather(*nannies), CONNECT_SECONDS)
            notice(f"{counted(len(nannies), 'worker')} for the scheduler at {address}; Ctrl-C ends them")
            told = False
            await asyncio.wait([asyncio.ensure_future(n.finished()) for n in nannies], return_when="FIRST_COMPLETED")
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            if isinstance(error.__cause__, TypeError):
                raise _tls_error(address) from error
            await asyncio.sleep(1.0)
        finally:
            for nanny in nannies:
                with suppress(Exception):
                    await nanny.close(timeout=KILL_SECONDS)
        if not told:
            notice(f"waiting for a scheduler at {address}")
            told = True


def scheduler_location(address: str) -> dict[str, str]:
    """Return the arguments of a client for an address such as `tcp://node7:8786`, or for a scheduler's file.

    Raises:
        BadOption: if it is neither.
    """
    if address.endswith(".json"):
        if not Path(address).is_file():
            raise BadOption(f"{address} does not exist: `dask scheduler --scheduler-file {address}` writes it")
        return {"scheduler_file": address}
    scheme, _, rest = address.partition("://")
    if scheme not in ("tcp", "tls", "ws", "wss", "ucx") or not rest:
        known = ", ".join(JOB_QUEUES)
        raise BadOption(
            f"'{address}' is no cluster: give an address such as tcp://node7:8786, a scheduler's file such as"
            f" scheduler.json, or a job queue ({known})"
        )
    return {"address": address}


def _tls_error(address: str) -> BadOption:
    """The error for Dask's TypeError: an address with TLS without a certificate."""
    return BadOption(f"{address} needs the certificates of TLS in Dask's configuration: docs/scale.md shows an example")


def worker_options(device: str, data_folder: Path) -> dict[str, Any]:
    """Return Dask's options of a worker process on a device."""
    env = {"FFCLI_DATA_DIR": str(data_folder.absolute())}
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        env["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)
    # One thread, because torch's settings belong to a process; no limit of memory, because a state cannot be spilled.
    return {
        "nthreads": 1, "memory_limit": 0, "env": env, "preload": ["ffcli.running.worker"],
        "silence_logs": logging.CRITICAL, "dashboard": False,
    }  # fmt: skip


@contextmanager
def _job_queue(name: str, workers: int | None, data_folder: Path) -> Iterator[Any]:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise MissingPackage(f"--cluster {name} needs dask-jobqueue: pip install 'ffcli[slurm]'") from error
    if workers is None:
        raise BadOption(f"--cluster {name}: give --workers, the number of jobs to start")
    cluster = getattr(dask_jobqueue, JOB_QUEUES[name])(
        cores=1, processes=1, memory="4 GB", worker_extra_args=["--preload", "ffcli.running.worker"],
        job_script_prologue=[
            f"export FFCLI_DATA_DIR={shlex.quote(str(data_folder.absolute()))}",
            *(f"export DASK_{name.upper().replace('.', '__').replace('-', '_')}={value}"
              for name, value in LOOKS.items()),
        ],
    )  # fmt: skip
    with cluster:
        cluster.scale(jobs=workers)
        yield cluster


def _silence() -> None:
    """Turn the messages of Dask off, and a warning of this process's worker processes.

    `ff` ends without interpreter teardown: Python's resource tracker then releases the semaphores of the workers'
    queues, and would warn of it.
    """
    silence_dask()
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")


def _close(cluster: SpecCluster) -> None:
    """Close a cluster of this machine, killing workers that are still training.

    Dask may wait for ever for a worker that was just being started again. Such a worker ends with this process.
    """

    async def kill() -> None:
        await asyncio.gather(*(nanny.kill(timeout=KILL_SECONDS) for nanny in cluster.workers.values()))

    with suppress(Exception):
        cluster.sync(kill, callback_timeout=2 * KILL_SECONDS)
    with suppress(Exception):
        cluster.close(timeout=KILL_SECONDS)
