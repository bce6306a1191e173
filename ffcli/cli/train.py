"""`ff train`: train one run, or show the stored one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, QuietOption


def train(
    given: dict[str, Any],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="path", help="TOML file of options, as `ff show RUN --toml` prints it; flags override it."
        ),
    ] = None,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train again; the earlier run is kept as superseded.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, whether it is stored, and how long it takes.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a network, or show the stored result at once.

    The same command never trains twice, an interrupted run continues where it stopped, and more epochs continue a run
    whose state was kept.
    """
    from ffcli.cli import results
    from ffcli.cli.console import message
    from ffcli.cli.live import watching_training
    from ffcli.errors import Diverged
    from ffcli.planning import plan_training
    from ffcli.running.run import LOCK_TIMEOUT, run
    from ffcli.store.database import open_store

    plan = plan_training(given, config_file=config, force=force, data_folder=data_dir, notify=message)
    if dry_run:
        with open_store(db, create=False) as store:
            results.show_training_plan(store, plan, json=json)
        return
    with open_store(db, timeout=LOCK_TIMEOUT) as store:
        try:
            with watching_training(quiet=quiet) as watcher:
                result = run(plan.config, plan.request, store, plan.data_folder, watcher)
        except Diverged:
            if json:
                results.print_failed_run(store, plan.config)
            raise
        results.show_result(store, result, plan.config, json=json)
