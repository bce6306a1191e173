"""What `ff bench` does with its options: measure, keep, show."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import typer

from ffcli.benchmark import benchmark_json
from ffcli.cli.bench_tables import (
    breakdown_table,
    check_table,
    history_table,
    machine_line,
    notes,
    row_table,
    scaling_table,
)
from ffcli.cli.console import err, is_animated, message, out, print_json
from ffcli.cli.pictures import check_picture, drawing
from ffcli.errors import BadOption


def check_modes(modes: Mapping[str, bool], *, save: bool, plot: Path | None) -> None:
    """Raise BadOption where options do not go together."""
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise BadOption(f"{' and '.join(chosen)} do not go together: give one of them")
    if save and chosen:
        raise BadOption(f"--save keeps what `ff bench` measures without {chosen[0]}: leave one of them out")
    if plot is not None and not modes["--scaling"]:
        raise BadOption("--plot draws what --scaling measures: give both")
    if plot is not None:
        check_picture("--plot", plot)


def measure_and_show(
    *, quick: bool, threads: int | None, seconds: float, data_dir: Path | None, db: str | None, save: bool, json: bool
) -> None:
    """Every row; the database is opened first, so that a wrong one costs no minute."""
    from ffcli.data.datasets import default_folder
    from ffcli.store import benchmarks
    from ffcli.store.database import open_store

    with open_store(db) if save else nullcontext() as store:
        with telling() as notify:
            from ffcli.bench.run import benchmark

            folder = data_dir or default_folder()
            record = benchmark(quick=quick, on=threads, seconds=seconds, folder=folder, notify=notify)
        if store is not None:
            benchmarks.keep(store, record)
    if json:
        print_json(benchmark_json(record))
        return
    console = out()
    console.print(machine_line(record.machine), soft_wrap=True)
    console.print(row_table(record.rows))
    for line in notes(record.rows):
        console.print(line)
    console.print(breakdown_table(record.breakdown))


def show_history(db: str | None, *, json: bool) -> None:
    """What was kept of this machine, known by its host name."""
    from ffcli.store import benchmarks
    from ffcli.store.database import open_to_read

    with open_to_read(db) as store:
        records = benchmarks.history(store, platform.node())
    if json:
        print_json([benchmark_json(record) for record in records])
    elif not records:
        message(f"nothing measured on {platform.node()} is kept: `ff bench --save` does so")
    else:
        console = out()
        console.print(history_table(records, width=console.width))


def check_and_show(*, json: bool) -> None:
    """Replay every trajectory; exit code 1 where one is not reproduced."""
    with telling() as notify:
        from ffcli.bench.check import recorded, replay
        from ffcli.machine import this_machine

        replays = []
        for path in recorded():
            notify(f"replaying {path.stem}")
            replays.append(replay(path))
    exact, machine = all(one.exact for one in replays), this_machine()
    if json:
        trajectories = [asdict(one) | {"tolerance": one.tolerance, "exact": one.exact} for one in replays]
        print_json({"machine": asdict(machine), "exact": exact, "trajectories": trajectories})
    else:
        out().print(machine_line(machine), soft_wrap=True)
        out().print(check_table(replays))
        good = "the engine is exact here: it reproduces every trajectory of the published code"
        out().print(
            good if exact else "[red]the engine is not exact here[/]: please report it, with the line at the top"
        )
    raise typer.Exit(0 if exact else 1)


def scale_and_show(*, quick: bool, threads: int | None, seconds: float, plot: Path | None, json: bool) -> None:
    """Hours and evaluated images per second as the work grows, beside the prediction."""
    with telling() as notify:
        from ffcli.bench.scaling import describe_default, point_json, scaling
        from ffcli.machine import this_machine
        from ffcli.plots.scaling import save_plot

        machine = this_machine(threads=threads)
        points = list(scaling(quick=quick, on=machine.threads, seconds=seconds, notify=notify))
        default = describe_default(quick=quick, on=machine.threads)
        if plot is not None:
            notify(f"drawing {plot}")
            with drawing("--plot", plot):
                save_plot(points, machine, default, plot)
    if json:
        print_json({"machine": asdict(machine), "default": default, "points": [point_json(point) for point in points]})
        return
    console = out()
    console.print(machine_line(machine), soft_wrap=True)
    console.print(f"by default {default}", soft_wrap=True)
    console.print(scaling_table(points))


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Say what is under way: on a terminal in one line that moves, else a line each on stderr."""
    if not is_animated():
        message("loading torch")
        yield message
        return
    with err().status("loading torch") as status:
        yield status.update
