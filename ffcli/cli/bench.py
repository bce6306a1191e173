"""`ff bench`: how fast the engine is on this machine, and whether it is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.train import DatabaseOption, DataFolderOption, JsonOption
from ffcli.report.colours import verdict_role
from ffcli.report.sheet import Document, Item, Sheet, make_list
from ffcli.text import counted

if TYPE_CHECKING:
    from ffcli.bench.check import Replayed
    from ffcli.bench.scaling import Point
    from ffcli.benchmark import BenchmarkRecord, Machine, Row, Step


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
            help="Threads of the rows that do not set their own.",
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
        _check(json=json)
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
    from ffcli.data.datasets import default_folder
    from ffcli.store import benchmarks
    from ffcli.store.database import open_store

    with open_store(db) if save else nullcontext() as store:
        with _progress() as notify:
            from ffcli.bench.run import benchmark  # torch, which takes seconds to load

            record = benchmark(
                quick=quick, on=threads, seconds=seconds, folder=folder or default_folder(), notify=notify
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
    from ffcli.store import benchmarks
    from ffcli.store.database import open_to_read

    with open_to_read(db) as store:
        records = benchmarks.history(store, platform.node())
    if not records and not json:
        message(f"no stored result of {platform.node()}: `ff bench --save` stores one")
        return
    sheets = (history_sheet(records),) if records else ()
    document = Document(sheets, data=[benchmark_json(record) for record in records])
    print_document(document, "json" if json else "rich")


def _check(*, json: bool) -> None:
    """Replay every trajectory; exit code 1 where one is not reproduced."""
    from dataclasses import asdict

    from ffcli.cli.console import out, print_document
    from ffcli.machine import this_machine

    with _progress() as notify:
        from ffcli.bench.check import recorded, replay

        replays = []
        for path in recorded():
            notify(f"replaying {path.stem}")
            replays.append(replay(path))
    exact, machine = all(one.exact for one in replays), this_machine()
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
    from ffcli.plots import writing_picture
    from ffcli.plots.scaling import save_scaling

    with _progress() as notify:
        from ffcli.bench.scaling import describe_default, point_json, scaling

        machine = this_machine(threads=threads)
        points = list(scaling(quick=quick, on=machine.threads, seconds=seconds, notify=notify))
        default = describe_default(quick=quick, on=machine.threads)
        if plot is not None:
            notify(f"drawing {plot}")
            with writing_picture("--plot", plot):
                save_scaling(points, machine, default, plot)
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


# Tables

SHARES = {"gemm-share"}
"""Rows whose ratio is a share."""

BASELINE_NOTE = "baseline: the same mathematics in plain autograd; for gemm-share, the matrix products alone"
PRODUCTS_NOTE = "products: share of the time that the same matrix products take alone"


def machine_line(machine: Machine) -> str:
    """Return the processor, its cores, and the versions in one line."""
    bf16 = machine.bf16 or "no instructions for bfloat16"
    versions = f"torch {machine.torch}, ffcli {machine.ffcli}" + (f" ({machine.revision})" if machine.revision else "")
    cores, threads = counted(machine.cores, "core"), counted(machine.threads, "thread")
    return f"{machine.processor}, {cores}, {threads}, {bf16}; {versions}"


def row_sheet(rows: Sequence[Row]) -> Sheet:
    """Return time, baseline, ratio and mark of each row."""
    lines: list[dict[str, str | Item]] = [
        {
            "row": row.name,
            "time": _time(row.seconds),
            "baseline": _time(row.baseline_seconds),
            "ratio": _ratio(row.name, row.ratio),
            "mark": "-" if row.mark is None else _ratio(row.name, row.mark),
            "products": "" if row.products_share is None else f"{row.products_share:.0%}",
            "reached": Item(
                "not asked" if row.reached is None else "yes" if row.reached else "no", verdict_role(row.reached)
            ),
        }
        for row in rows
    ]
    about = groupby(rows, lambda row: row.note)
    notes = [f"{', '.join(row.name for row in those)}: {note}" for note, those in about if note]
    return make_list(
        [
            ["row", "time", "baseline", "ratio", "mark", "products", "reached"],
            ["row", "time", "ratio", "mark", "reached"],
            ["row", "time", "ratio"],
        ],
        {"": lines},
        right=("time", "baseline", "ratio", "mark", "products"),
        notes=tuple((note,) for note in (BASELINE_NOTE, PRODUCTS_NOTE, *notes)),
    )


def breakdown_sheet(steps: Sequence[Step]) -> Sheet:
    """Return layers across and kinds of step down: shares of the hour, and the time of each layer and each kind."""
    layers = {layer: f"layer {layer}" for layer in sorted({step.layer for step in steps})}
    total = sum(step.seconds for step in steps)

    def line(name: str, those: Iterable[Step]) -> dict[str, str]:
        own = list(those)
        seconds = sum(step.seconds for step in own)
        shares = {
            title: f"{sum(step.seconds for step in own if step.layer == layer) / total:.1%}"
            for layer, title in layers.items()
        }
        return {"step": name, **shares, "hour": f"{seconds / total:.1%}", "time": _time(seconds)}

    kinds = dict.fromkeys(step.step for step in steps)
    times = {
        title: _time(sum(step.seconds for step in steps if step.layer == layer)) for layer, title in layers.items()
    }
    lines = [
        *(line(kind, (step for step in steps if step.step == kind)) for kind in kinds),
        line("hour", steps),
        {"step": "time", **times, "hour": _time(total)},
    ]
    columns = [*layers.values(), "hour", "time"]
    return make_list(
        [["step", *columns], ["step", "hour", "time"]],
        {"": lines},
        right=columns,
        title="How a separated hour divides",
    )


def history_sheet(records: Sequence[BenchmarkRecord]) -> Sheet:
    """Return rows down and dates across, the newest first: time and ratio. A narrow terminal leaves out old dates."""
    newest = sorted(records, key=lambda record: record.measured, reverse=True)
    dates = [f"{record.measured.astimezone():%Y-%m-%d %H:%M}" for record in newest]
    names = list(dict.fromkeys(row.name for record in records for row in record.rows))
    lines: list[dict[str, str | Item]] = [{"row": name} for name in (*names, "threads", "torch", "ffcli")]
    for date, record in zip(dates, newest, strict=True):
        machine = record.machine
        found = {row.name: _past(row) for row in record.rows}
        cells = [*(found.get(name, "") for name in names), str(machine.threads), machine.torch]
        for line, cell in zip(lines, [*cells, machine.revision or machine.ffcli], strict=True):
            line[date] = cell
    return make_list([["row", *dates[:last]] for last in range(len(dates), 0, -1)], {"": lines}, right=dates)


def _past(row: Row) -> Item:
    return Item(f"{_time(row.seconds)}  {_ratio(row.name, row.ratio)}", verdict_role(row.reached))


def check_sheet(replays: Sequence[Replayed]) -> Sheet:
    """Return the largest errors of each replayed trajectory, and whether it is exact."""
    lines: list[dict[str, str | Item]] = [
        {
            "trajectory": one.name,
            "hours": str(one.hours),
            "type": one.dtype,
            "weights": f"{one.weights_error:.1e}",
            "losses": f"{one.loss_error:.1e}",
            "goodness": f"{one.goodness_error:.1e}",
            "verdict": Item(_verdict(one), verdict_role(one.exact)),
        }
        for one in replays
    ]
    errors = ("weights", "losses", "goodness")
    return make_list(
        [["trajectory", "hours", "type", *errors, "verdict"], ["trajectory", "verdict"]],
        {"": lines},
        right=("hours", *errors),
    )


def _verdict(one: Replayed) -> str:
    if not one.same_choices:
        return "another phase, label or prediction"
    return "exact" if one.exact else f"not within {one.tolerance:g}"


def scaling_sheet(points: Sequence[Point]) -> Sheet:
    """Return measured and predicted rates by the value of each quantity."""
    lines = []
    for (what, quantity), group in groupby(points, lambda point: (point.what, point.quantity)):
        unit = "hours" if what == "hour" else "images evaluated"
        for number, point in enumerate(group):
            measured, predicted = point.per_second, point.predicted_per_second
            lines.append(
                {
                    "": "" if number else f"{unit} by {quantity}",
                    "value": f"{point.value:,}",
                    "per second": "left out" if measured is None else f"{measured:,.4g}",
                    "predicted": f"{predicted:,.4g}",
                    "measured / predicted": "" if measured is None else f"{measured / predicted:.2f}",
                }
            )
    columns = ["value", "per second", "predicted", "measured / predicted"]
    return make_list([["", *columns], ["", *columns[:3]], ["", *columns[:2]]], {"": lines}, right=columns)


def _ratio(name: str, ratio: float) -> str:
    return f"{ratio:.0%}" if name in SHARES else f"{ratio:.2f}x"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
