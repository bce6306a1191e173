"""`ff worker`: worker processes for sweeps of other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.options import DataFolderOption


def worker(
    address: Annotated[str, typer.Argument(help="Dask scheduler: tcp://HOST:PORT, or its file scheduler.json.")],
    workers: Annotated[
        int | None, typer.Option(envvar="FFCLI_WORKERS", help="Worker processes.", show_default="one per core or GPU")
    ] = None,
    workers_per_device: Annotated[int, typer.Option(help="Worker processes per GPU, which share it.")] = 1,
    device: Annotated[str, typer.Option(envvar="FFCLI_DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: DataFolderOption = None,
) -> None:
    """Train the runs of `ff sweep --cluster ADDRESS` on this machine, until Ctrl-C.

    The workers need no database and no shared folder. If the scheduler ends, they wait for its next start.
    """
    from ffcli.cli.console import message
    from ffcli.cli.results import worker_devices
    from ffcli.data.datasets import data_folder
    from ffcli.errors import Interrupted
    from ffcli.machine import choose_device
    from ffcli.running.cluster import serve

    folder: Path = data_folder(data_dir, create=True)
    devices = worker_devices(choose_device(device), workers, workers_per_device)
    try:
        serve(address, devices, folder, message)
    except KeyboardInterrupt as error:
        raise Interrupted("the workers ended: their sweeps continue the runs elsewhere") from error
