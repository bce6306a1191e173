"""Tables of `ff bench`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ffcli.report.colours import verdict_role
from ffcli.report.sheet import Item, Sheet, make_list
from ffcli.text import counted, local_time

if TYPE_CHECKING:
    from ffcli.bench.check import Replayed
    from ffcli.bench.scaling import Point
    from ffcli.benchmark import BenchmarkRecord, Machine, Row, Step

SHARES = {"gemm-share"}
"""Names of the rows whose ratio is a share of the time."""

BASELINE_NOTE = "baseline: the same mathematics in plain autograd; for gemm-share, the matrix products alone"
PRODUCTS_NOTE = "products: share of the time that the same matrix products take alone"


def machine_line(machine: Machine) -> str:
    """Return the processor, its cores, and the versions in one line."""
    bf16 = machine.bf16 or "no instructions for bfloat16"
    versions = f"torch {machine.torch}, ffcli {machine.ffcli}" + (f" ({machine.revision})" if machine.revision else "")
    cores, threads = counted(machine.cores, "core"), counted(machine.threads, "thread")
    network = "; a tiny network, to try the command (--quick)" if machine.quick else ""
    return f"{machine.processor}, {cores}, {threads}, {bf16}; {versions}{network}"


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
    """Return a table of layers (columns) by kinds of step (lines): shares of the hour, and the time of each."""
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
    """Return time and ratio of each row by date, newest first. A narrow terminal leaves out old dates."""
    newest = sorted(records, key=lambda record: record.measured, reverse=True)
    dates = [local_time(record.measured) + (" (quick)" if record.machine.quick else "") for record in newest]
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
