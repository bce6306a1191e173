"""`ff bench`: how fast the engine is on this machine, and whether it is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption


def bench(
    save: Annotated[bool, typer.Option("--save", help="Store the result in the database.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show the stored results of this machine.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Replay trajectories recorded from the published code: is it exact here?")
    ] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Measure how time grows with batch size, width, depth and more.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="With --scaling: draw it into this file (.svg, .png, .pdf).", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(help="About how long to measure.", min=0.1, max=86_400)] = 60,
    threads: Annotated[
        int | None,
        typer.Option(
            envvar="FFCLI_THREADS",
            help="Threads of the rows that do not set their own, and of --check.",
            min=1,
            max=1024,
            show_default="torch's",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Measure a small network, as a test of the command.")] = False,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Measure the engine on this machine against the same mathematics in plain autograd, in about a minute.

    Shows the time and ratio of each row, and how an hour divides into layers and steps.
    """
    _check_modes({"--history": history, "--check": check, "--scaling": scaling}, save=save, plot=plot)
    if history:
        _show_history(db, json=json)
    elif check:
        _check(threads=threads, json=json)
    elif scaling:
        _measure_scaling(quick=quick, threads=threads, seconds=seconds, plot=plot, json=json)
    else:
        _measure(quick=quick, threads=threads, seconds=seconds, folder=data_dir, db=db, save=save, json=json)


def _check_modes(modes: Mapping[str, bool], *, save: bool, plot: Path | None) -> None:
    """Raise BadOption for options that exclude each other."""
    from ffcli.errors import BadOption
    from ffcli.plots import check_picture

    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise BadOption(f"{' and '.join(chosen)} exclude each other: give one of them")
    if save and chosen:
        raise BadOption(f"--save stores what `ff bench` measures without {chosen[0]}: leave one of them out")
    if plot is not None and not modes["--scaling"]:
        raise BadOption("--plot draws what --scaling measures: give both")
    if plot is not None:
        check_picture("--plot", plot)


def _measure(
    *, quick: bool, threads: int | None, seconds: float, folder: Path | None, db: str | None, save: bool, json: bool
) -> None:
    """Measure every row. The database is opened first, so that a wrong one is reported at once."""
    from ffcli.benchmark import benchmark_json
    from ffcli.cli.console import print_document
    from ffcli.data.datasets import data_folder
    from ffcli.report.benchmarks import breakdown_sheet, machine_line, row_sheet
    from ffcli.report.sheet import Document
    from ffcli.store import benchmarks
    from ffcli.store.database import open_store

    with open_store(db) if save else nullcontext() as store:
        with _progress() as notify:
            from ffcli.bench.run import benchmark  # torch, which takes seconds to load

            record = benchmark(
                quick=quick, on=threads, seconds=seconds, folder=data_folder(folder, create=True), notify=notify
            )
        if store is not None:
            benchmarks.keep(store, record)
    document = Document(
        (row_sheet(record.rows), breakdown_sheet(record.breakdown)),
        intro=(machine_line(record.machine),),
        data=benchmark_json(record),
    )
    print_document(document, "json" if json else "rich")


def _show_history(db: str | None, *, json: bool) -> None:
    """Show the stored results of this machine, which is known by its host name."""
    import platform

    from ffcli.benchmark import benchmark_json
    from ffcli.cli.console import message, print_document
    from ffcli.report.benchmarks import history_sheet
    from ffcli.report.sheet import Document
    from ffcli.store import benchmarks
    from ffcli.store.database import open_to_read
    from ffcli.text import counted

    unreadable: list[str] = []
    with open_to_read(db) as store:
        records = benchmarks.history(store, platform.node(), unreadable.append)
    if unreadable:
        message(f"left out: {counted(len(unreadable), 'benchmark')} that cannot be read")
    if not records and not json:
        message(f"no stored result of {platform.node()}: `ff bench --save` stores one")
        return
    sheets = (history_sheet(records),) if records else ()
    document = Document(sheets, data=[benchmark_json(record) for record in records])
    print_document(document, "json" if json else "rich")


def _check(*, threads: int | None, json: bool) -> None:
    """Replay every trajectory; exit code 1 if one is not reproduced."""
    from dataclasses import asdict

    from ffcli.cli.console import out, print_document
    from ffcli.machine import this_machine
    from ffcli.report.benchmarks import check_sheet, machine_line
    from ffcli.report.sheet import Document

    with _progress() as notify:
        from ffcli.bench.check import recorded, replay
        from ffcli.machine import set_numerics

        set_numerics(threads)
        replays = []
        for path in recorded():
            notify(f"replaying {path.stem}")
            replays.append(replay(path))
        machine = this_machine(threads=threads)
    exact = all(one.exact for one in replays)
    trajectories = [asdict(one) | {"tolerance": one.tolerance, "exact": one.exact} for one in replays]
    document = Document(
        (check_sheet(replays),),
        intro=(machine_line(machine),),
        data={"machine": asdict(machine), "exact": exact, "trajectories": trajectories},
    )
    print_document(document, "json" if json else "rich")
    if not json:
        out().print(
            "the engine is exact here: it reproduces every trajectory of the published code"
            if exact
            else "[red]the engine is not exact here[/]: please report it, with the line at the top"
        )
    raise typer.Exit(0 if exact else 1)


def _measure_scaling(*, quick: bool, threads: int | None, seconds: float, plot: Path | None, json: bool) -> None:
    """Measure hours and evaluated images per second as the work grows, beside the prediction."""
    from dataclasses import asdict

    from ffcli.cli.console import print_document
    from ffcli.machine import this_machine
    from ffcli.plots import save_pages, writing_picture
    from ffcli.plots.scaling import draw_scaling
    from ffcli.report.benchmarks import machine_line, scaling_sheet
    from ffcli.report.sheet import Document

    with _progress() as notify:
        from ffcli.bench.scaling import describe_default, point_json, scaling

        machine = this_machine(threads=threads)
        points = list(scaling(quick=quick, on=machine.threads, seconds=seconds, notify=notify))
        default = describe_default(quick=quick, on=machine.threads)
        if plot is not None:
            notify(f"drawing {plot}")
            with writing_picture("--plot", plot):
                save_pages([draw_scaling(points, machine, default)], plot)
    document = Document(
        (scaling_sheet(points),),
        intro=(machine_line(machine), f"by default {default}"),
        data={"machine": asdict(machine), "default": default, "points": [point_json(point) for point in points]},
    )
    print_document(document, "json" if json else "rich")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is being done: on a terminal in one changing line, else as lines on stderr."""
    from ffcli.cli.console import err, is_animated, message

    if not is_animated():
        message("loading torch")
        yield message
        return
    with err().status("loading torch") as status:
        yield status.update
