"""`ff bench`: how fast the engine is on this machine, and that it is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption


def bench(
    save: Annotated[bool, typer.Option("--save", help="Keep the result in the database.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show what was kept of this machine.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Replay trajectories recorded from the published code: is it exact here?")
    ] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Measure how time grows with batch, width, depth and more.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="With --scaling: draw it into this file (.svg, .png, .pdf).", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(help="About how long to measure.", min=0.1, max=86_400)] = 60,
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="FFCLI_THREADS", help="Threads, where a row names none.", min=1, max=1024, show_default="torch's"
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small network, only to see that it works.")] = False,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Measure the engine on this machine against the same mathematics in plain autograd, in about a minute.

    Each row's time and ratio, and below them in which layer and which step one hour goes.
    """
    from ffcli.cli import benching

    benching.check_modes({"--history": history, "--check": check, "--scaling": scaling}, save=save, plot=plot)
    if history:
        benching.show_history(db, json=json)
    elif check:
        benching.check_and_show(json=json)
    elif scaling:
        benching.scale_and_show(quick=quick, threads=threads, seconds=seconds, plot=plot, json=json)
    else:
        benching.measure_and_show(
            quick=quick,
            threads=threads,
            seconds=seconds,
            data_dir=data_dir,
            db=db,
            save=save,
            json=json,
        )
