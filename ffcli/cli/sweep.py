"""`ff sweep`: train the cells of the paper's tables, or a grid of settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, QuietOption


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
    from ffcli.running.workers import ProcessWorkers
    from ffcli.store.database import open_store

    plan = plan_sweep(
        given,
        tables=table or [],
        grid_file=grid,
        data_folder=data_dir,
        notify=message,
        confirm=lambda number: None if yes or dry_run else _confirm(number),
    )
    devices = results.worker_devices(plan.request.device, workers)
    if dry_run:
        with open_store(db, create=False) as store:
            results.show_sweep_plan(store, plan, workers=len(devices), json=json)
        return
    with open_store(db, timeout=LOCK_TIMEOUT) as store:
        with watching_sweep(quiet=quiet) as watcher, results.stopping_on_ctrl_c(watcher.notice) as stop_on_signal:

            def begin(under_way: Sweep) -> None:
                stop_on_signal(under_way)
                watcher.begins(under_way)

            cells = run_sweep(
                plan.configs, plan.request, store, plan.data_folder, ProcessWorkers(devices), watcher, watch=begin
            )
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
