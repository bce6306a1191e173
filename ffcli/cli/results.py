"""What `ff train` and `ff sweep` print: plans, results and their JSON."""

from __future__ import annotations

import shlex
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from ffcli.cli.console import line, out, print_json
from ffcli.cli.words import describe, duration, published_line, status_text
from ffcli.config import RunConfig
from ffcli.errors import BadOption, Interrupted
from ffcli.estimate import seconds_left
from ffcli.machine import cores, cuda_devices, require_device
from ffcli.planning import SweepPlan, TrainPlan, train_command
from ffcli.records import RunRecord, config_json, epoch_json, run_json
from ffcli.running.run import RunResult, is_stored, stored_result
from ffcli.running.sweep import Cell, Sweep, count_status, longest_first, make_cells
from ffcli.store import runs, states
from ffcli.store.database import Store
from ffcli.store.timings import timings
from ffcli.store.traces import traced
from ffcli.text import counted, local_time, named, printable

MAX_WORKERS = 256
"""Each worker of this machine is a process with its own torch and data: more is a typing error."""


STOPPED = "stopped: everything that was trained is saved, and the same command continues"


def show_result(store: Store, result: RunResult, config: RunConfig, *, json: bool) -> None:
    """Print the result of a run, the published value of its cell, and the run's id."""
    if json:
        print_json(result_json(result, config))
        return
    console = out()
    short = runs.short_ids(store, [result.run.id])[result.run.id]
    best = max((e for e in result.epochs if e.accuracy == result.best_accuracy), key=lambda e: e.epoch, default=None)
    chosen = "by held-out images" if config.holdout else "best on the test set"
    console.print(describe(config), style="bold", markup=False)
    console.print(
        f"accuracy [bold]{_percent(result.final_accuracy)}[/] after {counted(config.epochs, 'epoch')}"
        + (f", {_percent(result.best_accuracy)} in epoch {best.epoch} ({chosen})" if best else "")
    )
    if line := published_line(config, result.final_accuracy):
        console.print(line)
    if result.cached:
        console.print(f"run {short}, from the database: trained {local_time(result.run.started)}")
    else:
        console.print(f"run {short}, {duration(sum(e.seconds for e in result.epochs))} of training: `ff show {short}`")
    if phases := set(traced(store, result.run.id).values()):
        console.print(f"trace of {named('phase', phases)}: `ff plot trace {short}`")
    if result.run.status not in ("completed", "running"):
        console.print(f"(the stored run has more epochs and is {status_text(result.run.status)})")


def print_failed_run(store: Store, config: RunConfig) -> None:
    """Print the JSON of a stored run that diverged."""
    if failed := runs.find(store, config.key):
        print_json(result_json(RunResult(failed, runs.epochs(store, failed.id), cached=True), config))


def result_json(result: RunResult, config: RunConfig) -> dict[str, Any]:
    """Return the JSON of `ff train`: the run, read at the epochs that were asked for."""
    return run_json(result.run) | {
        "cached": result.cached,
        "config": config_json(config),
        "epochs": [epoch_json(e) for e in result.epochs],
        "best_accuracy": result.best_accuracy,
        "final_accuracy": result.final_accuracy,
        "seconds": sum(e.seconds for e in result.epochs),
    }


def show_training_plan(store: Store, plan: TrainPlan, *, json: bool) -> None:
    """Print the resolved run, its key, whether it is stored, and the time that it would take."""
    config = plan.config
    found = runs.find(store, config.key)
    cached = not plan.request.force and found is not None and is_stored(store, config)
    done = epochs_saved(store, found)
    seconds, measured = seconds_left(
        config, done, timings(store, host=socket.gethostname()), eval_every=plan.request.eval_every
    )
    if json:
        print_json(
            {
                "key": config.key,
                "cached": cached,
                "status": found.status if found else None,
                "epochs_done": found.epochs_done if found else 0,
                "continues_after": done,
                "estimated_seconds": 0.0 if cached else round(seconds, 1),
                "estimate_measured": measured,
                "config": config_json(config),
            }
        )
        return
    console, data = out(), config.data
    console.print(describe(config), style="bold", markup=False)
    console.print(f"key {config.key}")
    for name, value in config_json(config).items():
        if name != "data":
            console.print(f"  {name:18}{'-' if value is None else printable(str(value))}", markup=False)
    images = f"{data.train} training and {data.test} test images"
    console.print(f"  {'data':18}{printable(data.label)}, {images}", markup=False)
    if cached:
        console.print("stored: `ff train` shows the result at once")
    else:
        how = "measured on this machine" if measured else "a rough guess: nothing was measured here yet"
        what = f"continues after epoch {done}" if done else "not stored"
        console.print(f"{what}: about {duration(seconds)} ({how})")


def epochs_saved(store: Store, found: RunRecord | None) -> int:
    """Return the epochs from which a run continues: 0 if there is no run, or its state was not kept."""
    return found.epochs_done if found and states.state_path(store, found.id).exists() else 0


def show_sweep_plan(store: Store, plan: SweepPlan, *, workers: int, json: bool) -> None:
    """Print the cells, which of them are stored, and the time for the rest."""
    measured = timings(store, host=socket.gethostname())
    rows = []
    for cell in longest_first(make_cells(plan.configs)):
        found = runs.find(store, cell.config.key)
        cached = is_stored(store, cell.config)
        done = epochs_saved(store, found)
        seconds, known = seconds_left(cell.config, done, measured, eval_every=plan.request.eval_every)
        rows.append((cell.config, cached, done, 0.0 if cached else seconds, known))
    missing = [seconds for _, cached, _, seconds, _ in rows if not cached]
    # The workers share the cells, but a single cell takes its own time.
    total = max(sum(missing) / workers, *missing, 0.0)
    if json:
        print_json(
            {
                "cells": [
                    {
                        "key": config.key,
                        "cached": cached,
                        "epochs_done": done,
                        "estimated_seconds": round(seconds, 1),
                        "config": config_json(config),
                    }
                    for config, cached, done, seconds, _ in rows
                ],
                "missing": len(missing),
                "workers": workers,
                "estimated_seconds": round(total, 1),
            }
        )
        return
    longest = max((len(describe(row[0])) for row in rows), default=0)
    for config, cached, done, seconds, _ in rows:
        state = "stored" if cached else f"{done}/{counted(config.epochs, 'epoch')}, {duration(seconds)}"
        out().print(f"{describe(config):{longest}}  {state}", markup=False, soft_wrap=True)
    rough = "" if all(row[4] for row in rows) else " (a rough guess: nothing was measured here yet)"
    out().print(
        f"{len(missing)} of {counted(len(rows), 'cell')} to train, about {duration(total)}"
        f" with {counted(workers, 'worker')}{rough}"
    )


def print_train_commands(store: Store, plan: SweepPlan, db: str | None) -> None:
    """Print a command for each cell that is not stored, the longest first."""
    settings = {config.key: each for each, config in zip(plan.settings, plan.configs, strict=True)}
    to_database = ["--db", db] if db else []
    for cell in longest_first(make_cells(plan.configs)):
        if not is_stored(store, cell.config):
            line(f"{train_command(settings[cell.config.key])} {shlex.join(to_database)}".rstrip())


def show_sweep_result(store: Store, cells: Sequence[Cell], *, json: bool) -> None:
    """Print how many cells were trained, stored before, and failed."""
    if json:
        print_json(sweep_json(store, cells))
        return
    done, cached, failed = (count_status(cells, status) for status in ("done", "cached", "failed"))
    counts, left = f"{done} trained, {cached} stored before, {failed} failed", len(cells) - done - cached - failed
    out().print(
        f"{counted(len(cells), 'cell')}: {counts}" + (f", {left} left" if left else "; `ff report` shows the tables")
    )


def sweep_json(store: Store, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the JSON of `ff sweep`: every cell with its run's id and its accuracies at the epochs asked for."""
    rows = []
    for cell in cells:
        result = stored_result(store, cell.config)
        rows.append(
            {
                "id": result.run.id if result else None,
                "key": cell.config.key,
                "status": cell.status,
                "reason": cell.reason,
                "config": config_json(cell.config),
                "epochs_done": result.epochs[-1].epoch if result and result.epochs else 0,
                "final_accuracy": result.final_accuracy if result else None,
                "best_accuracy": result.best_accuracy if result else None,
            }
        )
    return {
        "cells": rows,
        **{status: count_status(cells, status) for status in ("done", "cached", "failed", "stopped")},
    }


def raise_unless_complete(cells: Sequence[Cell]) -> None:
    """End the command with the exit code of the sweep.

    Raises:
        Interrupted: if the sweep was stopped.
        typer.Exit: with code 1 if a cell failed.
    """
    if any(cell.status in ("stopped", "queued", "running", "elsewhere") for cell in cells):
        raise Interrupted(STOPPED)
    if count_status(cells, "failed"):
        raise typer.Exit(1)


def worker_devices(device: str, workers: int | None, per_device: int = 1) -> list[str]:
    """Return the device of each worker: one per core, or `per_device` per GPU, unless `workers` says how many.

    Raises:
        BadOption: if there is no such device, or a number is less than 1 or more than MAX_WORKERS.
    """
    for option, number in (("--workers", workers), ("--workers-per-device", per_device)):
        if number is not None and not 1 <= number <= MAX_WORKERS:
            limit = "at least 1" if number < 1 else f"at most {MAX_WORKERS}"
            raise BadOption(f"{option} should be {limit}, not {number}")
    require_device(device)
    if device == "cpu":
        if per_device != 1:
            raise BadOption("--workers-per-device is for GPUs: on the CPU give --workers")
        return [device] * (workers or cores())
    present = [f"cuda:{n}" for n in range(cuda_devices())] if device == "cuda" else [device]
    return [present[n % len(present)] for n in range(workers or len(present) * per_device)]


@contextmanager
def stopping_on_ctrl_c(notice: Callable[[str], None]) -> Iterator[Callable[[Sweep], None]]:
    """Stop a sweep at the end of its epochs on the first Ctrl-C, and at once on the second or on SIGTERM.

    Raises:
        Interrupted: if it was stopped at once.
    """
    under_way: list[Sweep] = []

    def stop(*_: object) -> None:
        if under_way and not under_way[0].stopping:
            under_way[0].stopping = True
            notice("stopping at the end of the epochs under way; Ctrl-C again stops at once")
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield under_way.append
    except KeyboardInterrupt as error:
        raise Interrupted(STOPPED) from error
    finally:
        signal.signal(signal.SIGINT, before)


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f} %"
