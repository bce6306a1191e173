"""What `ff sweep` does with its options: cells, workers, board, result."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from ffcli.cli.console import message, out, print_json
from ffcli.cli.training import LOCK_TIMEOUT, layer_sizes, measured_here
from ffcli.cli.words import describe, duration
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES
from ffcli.errors import BadOption, Interrupted
from ffcli.estimate import seconds_left
from ffcli.grid import combinations, read_grid, restricted, seed_list, split_list, table_cells
from ffcli.machine import choose_device, cores, cuda_devices, device_kind, require_device
from ffcli.options import TrainOptions, parse_options, resolve
from ffcli.published import tables as published_tables
from ffcli.records import config_json
from ffcli.running.run import Request, is_answered, stored_answer
from ffcli.running.sweep import Cell, Sweep, ended, longest_first, make_cells, sweep
from ffcli.running.workers import ProcessWorkers
from ffcli.store import runs
from ffcli.store.database import Store, open_store
from ffcli.text import counted, unknown


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep, resolved."""

    configs: list[RunConfig]
    request: Request
    data_folder: Path


def resolve_sweep(
    asked: dict[str, Any],
    request: Request,
    *,
    tables: Sequence[int],
    grid: Path | None,
    balanced: bool,
    data_dir: Path | None,
) -> Plan:
    """Every cell that was asked for, resolved against its data. Raises BadOption where nothing was asked for."""
    lists = {name: _values(name, text) for name, text in asked.items() if text is not None}
    lists = {("seed" if name == "seeds" else name): values for name, values in lists.items()}
    if grid is not None:
        from_file, numbers, file_balanced = read_grid(grid)
        lists, tables, balanced = from_file | lists, [*tables, *numbers], balanced or file_balanced
    if wrong := [n for n in tables if n not in published_tables()]:
        raise BadOption(f"--table {wrong[0]}: the paper has tables {' and '.join(map(str, published_tables()))}")
    if not tables and not lists.keys() - {"data"}:
        raise BadOption("nothing to sweep: give --table 1, --table 2, or lists such as --pos-phase 1,2,4")
    cells = restricted(table_cells(tables), lists) if tables else combinations(lists, balanced=balanced)
    options = [parse_options(cell) for cell in cells]
    if not options:
        raise BadOption("no cell of the tables has this --dataset and --neg: leave one of them out")
    device = choose_device(request.device)
    folder = data_dir or datasets.default_folder()
    configs = _resolve_all(options, device, folder)
    return Plan(configs, replace(request, device=device), folder)


def sweep_and_show(plan: Plan, *, workers: int | None, db: str | None, json: bool, quiet: bool) -> None:
    """Train what is missing; the exit code says whether a cell failed (1) or the sweep was stopped (130)."""
    from ffcli.cli.live import watching_sweep

    devices = worker_devices(plan.request.device, workers)
    with open_store(db, timeout=LOCK_TIMEOUT) as store:
        pool = ProcessWorkers(devices)
        with watching_sweep(quiet=quiet) as watcher, _stopping_on_ctrl_c(watcher.notice) as watch:

            def begin(under_way: Sweep) -> None:
                watch(under_way)
                watcher.begins(under_way)

            cells = sweep(plan.configs, plan.request, store, plan.data_folder, pool, watcher, watch=begin)
        if json:
            print_json(sweep_json(store, cells))
        else:
            show_result(cells)
    if any(cell.status in ("stopped", "queued", "running", "elsewhere") for cell in cells):
        raise Interrupted("stopped: what is trained is saved, and the same command continues it")
    if ended(cells, "failed"):
        raise typer.Exit(1)


def show_sweep_plan(plan: Plan, *, workers: int | None, db: str | None, json: bool) -> None:
    """`--dry-run`: the cells, which are stored, and the time for the rest."""
    cells = make_cells(plan.configs)
    devices = worker_devices(plan.request.device, workers)
    with open_store(db, create=False) as store:
        measured = measured_here(store)
        rows = []
        for cell in longest_first(cells):
            found = runs.find(store, cell.config.key)
            cached = is_answered(store, cell.config)
            done = found.epochs_done if found else 0
            seconds, known = seconds_left(cell.config, 0 if cached else done, measured)
            rows.append((cell.config, cached, done, 0.0 if cached else seconds, known))
    missing = [seconds for _, cached, _, seconds, _ in rows if not cached]
    # As many at once as there are workers, and none sooner than its own time.
    total = max(sum(missing) / len(devices), *missing, 0.0)
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
                "workers": len(devices),
                "estimated_seconds": round(total, 1),
            }
        )
        return
    longest = max(len(describe(row[0])) for row in rows)
    for config, cached, done, seconds, _ in rows:
        state = "stored" if cached else f"{done}/{counted(config.epochs, 'epoch')}, {duration(seconds)}"
        out().print(f"{describe(config):{longest}}  {state}", markup=False, soft_wrap=True)
    rough = "" if all(row[4] for row in rows) else " (a rough guess: nothing was measured here yet)"
    out().print(
        f"{len(missing)} of {counted(len(rows), 'cell')} to train, about {duration(total)}"
        f" with {counted(len(devices), 'worker')}{rough}"
    )


def sweep_json(store: Store, cells: Sequence[Cell]) -> dict[str, Any]:
    """`ff sweep --json`: every cell with its run's id, and its accuracies at the epochs that were asked for."""
    rows = []
    for cell in cells:
        answer = stored_answer(store, cell.config)
        rows.append(
            {
                "id": answer.run.id if answer else None,
                "key": cell.config.key,
                "status": cell.status,
                "reason": cell.reason,
                "config": config_json(cell.config),
                "epochs_done": answer.epochs[-1].epoch if answer and answer.epochs else 0,
                "final_accuracy": answer.final_accuracy if answer else None,
                "best_accuracy": answer.best_accuracy if answer else None,
            }
        )
    return {"cells": rows, **{status: ended(cells, status) for status in ("done", "cached", "failed", "stopped")}}


def show_result(cells: Sequence[Cell]) -> None:
    """One line of counts; failures were said as they came."""
    counts = f"{ended(cells, 'done')} trained, {ended(cells, 'cached')} stored before, {ended(cells, 'failed')} failed"
    left = len(cells) - sum(ended(cells, status) for status in ("done", "cached", "failed"))
    out().print(
        f"{counted(len(cells), 'cell')}: {counts}" + (f", {left} left" if left else "; `ff report` draws the tables")
    )


def worker_devices(device: str, workers: int | None) -> list[str]:
    """One entry a worker: a core each, or a GPU each. Raises BadOption."""
    if workers is not None and workers < 1:
        raise BadOption(f"--workers should be at least 1, not {workers}")
    require_device(device)
    if device == "cuda":
        there = [f"cuda:{n}" for n in range(cuda_devices())]
        return [there[n % len(there)] for n in range(workers or len(there))]
    return [device] * (workers or (cores() if device == "cpu" else 1))


def _values(name: str, given: Any) -> list[Any]:
    """An option's text as its list of values; a layer's sizes are one value."""
    if not isinstance(given, str):
        return [given]
    if name == "seeds":
        return list(seed_list(given))
    if name == "hidden":
        return [layer_sizes(given)]
    return split_list(name, given)


def _resolve_all(options: Sequence[TrainOptions], device: str, folder: Path) -> list[RunConfig]:
    if bad := next((o.neg for o in options if o.neg not in STRATEGIES), None):
        raise BadOption(unknown("negatives", bad, STRATEGIES))
    named = {(o.dataset, o.data) for o in options}
    refs = {
        (name, wanted): datasets.locate(name, wanted=wanted, folder=folder, notify=message)
        for name, wanted in sorted(named)
    }
    return [
        resolve(o, refs[o.dataset, o.data], device=device_kind(device), uses_masks=STRATEGIES[o.neg].masks)
        for o in options
    ]


@contextmanager
def _stopping_on_ctrl_c(notice: Any) -> Iterator[Any]:
    """Ctrl-C once: workers end their epoch. Twice: at once."""
    under_way: list[Sweep] = []

    def answer(*_: object) -> None:
        if under_way and not under_way[0].stopping:
            under_way[0].stopping = True
            notice("stopping at the end of the epochs under way; Ctrl-C again stops at once")
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, answer)
    try:
        yield under_way.append
    finally:
        signal.signal(signal.SIGINT, before)
