"""`ff sweep`: train the cells of the paper's tables, or a grid of settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from ffcli.running.workers import DaskWorkers


def sweep(
    given: dict[str, Any],
    table: Annotated[
        list[int] | None,
        typer.Option(
            metavar="1|2",
            help="Cells of the paper's table; may be repeated.",
            autocompletion=lambda incomplete: [number for number in ("1", "2") if number.startswith(incomplete)],
        ),
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(metavar="path", help="TOML file of lists of options; flags override it.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="integer", envvar="FFCLI_WORKERS", help="Worker processes.", show_default="one per core or GPU"
        ),
    ] = None,
    workers_per_device: Annotated[
        int, typer.Option(metavar="integer", help="Worker processes per GPU, which share it.")
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="address",
            envvar="FFCLI_CLUSTER",
            show_default="this machine",
            help="Train on the workers of a Dask scheduler: its address (tcp://HOST:PORT), its file"
            " (scheduler.json), or a job queue (slurm), which starts --workers jobs.",
        ),
    ] = None,
    save_every: Annotated[
        float,
        typer.Option(
            metavar="seconds",
            min=0,
            envvar="FFCLI_SAVE_EVERY",
            help="Time between two saved states of a run: what a lost worker costs.",
        ),
    ] = 30.0,
    shard: Annotated[
        str | None,
        typer.Option(metavar="k/n", help="Only the k-th of n shares of equal cost, for n sweeps without a scheduler."),
    ] = None,
    print_commands: Annotated[
        bool, typer.Option("--print-commands", help="Print an `ff train` command for each missing cell, and end.")
    ] = False,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, which are stored, and how long the rest takes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before more than 1,000 runs.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train every cell of the paper's tables, or of a grid, that is not stored yet.

    Most options take a comma-separated list. Kill a sweep or run it twice at once: it ends with the same tables.
    """
    from ffcli.cli import results
    from ffcli.cli.console import message
    from ffcli.cli.live import watching_sweep
    from ffcli.planning import plan_sweep
    from ffcli.running.run import LOCK_TIMEOUT
    from ffcli.running.sweep import Sweep
    from ffcli.running.sweep import sweep as run_sweep
    from ffcli.store.database import open_store

    plan = plan_sweep(
        given,
        tables=table or [],
        grid_file=grid,
        data_folder=data_dir,
        notify=message,
        confirm=lambda number: None if yes or dry_run else _confirm(number),
        shard=shard,
    )
    devices = [] if cluster else results.worker_devices(plan.request.device, workers, workers_per_device)
    if dry_run or print_commands:
        with open_store(db, create=False) as store:
            if print_commands:
                results.print_train_commands(store, plan, db)
            else:
                results.show_sweep_plan(store, plan, workers=workers or len(devices) or 1, json=json)
        return
    with open_store(db, timeout=LOCK_TIMEOUT) as store:
        with watching_sweep(quiet=quiet) as watcher, results.stopping_on_ctrl_c(watcher.notice) as stop_on_signal:

            def show(line: str) -> None:
                if not quiet:
                    watcher.notice(line)

            def begin(under_way: Sweep) -> None:
                stop_on_signal(under_way)
                watcher.begins(under_way)

            @contextmanager
            def open_workers() -> Iterator[DaskWorkers]:
                from ffcli.running.cluster import open_cluster
                from ffcli.running.workers import dask_workers

                with (
                    open_cluster(cluster, devices, workers, plan.data_folder, show) as client,
                    dask_workers(client, plan.configs, plan.data_folder, save_every, watcher.notice) as crew,
                ):
                    yield crew

            cells = run_sweep(plan.configs, plan.request, store, open_workers, watcher, watch=begin)
        results.show_sweep_result(store, cells, json=json)
    results.raise_unless_complete(cells)


def _confirm(number: int) -> None:
    """Ask whether to train so many runs. Raises BadOption off a terminal."""
    from ffcli.cli.console import confirmed, message
    from ffcli.errors import BadOption

    unanswered = f"these are up to {number:,} runs: --yes trains them, --dry-run lists them"
    if not sys.stdin.isatty():
        raise BadOption(unanswered)
    if not confirmed(f"These are up to {number:,} runs. Train them?", unanswered):
        message("nothing was trained")
        raise typer.Exit(1)
