"""The tables of `ff bench`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ffcli.benchmark import BenchmarkRecord, Machine, Row, Step

if TYPE_CHECKING:
    from ffcli.bench.check import Replayed
    from ffcli.bench.scaling import Point

SHARES = {"gemm-share"}
"""Rows whose ratio is a share."""

DATE_WIDTH = 16


def machine_line(machine: Machine) -> str:
    cores, threads = (_counted(n, what) for n, what in ((machine.cores, "core"), (machine.threads, "thread")))
    bf16 = machine.bf16 or "no instructions for bfloat16"
    versions = f"torch {machine.torch}, ffcli {machine.ffcli}" + (f" ({machine.revision})" if machine.revision else "")
    return f"[bold]{escape(machine.processor)}[/], {cores}, {threads}, {bf16}; {escape(versions)}"


def row_table(rows: Sequence[Row]) -> Table:
    table = _table("", time="right", baseline="right", ratio="right", mark="right", products="right", reached="left")
    for row in rows:
        share = "" if row.products_share is None else f"{row.products_share:.0%}"
        mark = "-" if row.mark is None else _ratio(row.name, row.mark)
        times = (_time(row.seconds), _time(row.baseline_seconds))
        table.add_row(row.name, *times, _ratio(row.name, row.ratio), mark, share, _reached(row))
    return table


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """What the table's columns are, and what is to be said of single rows."""
    yield "[dim]baseline: the same mathematics in plain autograd; of gemm-share, the matrix products alone[/]"
    yield "[dim]products: share of the time that the same matrix products take alone[/]"
    for note, about in groupby(rows, lambda row: row.note):
        if note:
            yield f"[dim]{', '.join(row.name for row in about)}: {escape(note)}[/]"


def breakdown_table(steps: Sequence[Step]) -> Table:
    """Layers across, kinds of step down; shares of the hour, with the time of each layer and of each kind."""
    layers = sorted({step.layer for step in steps})
    total = sum(step.seconds for step in steps)
    columns = {f"layer {layer}": "right" for layer in layers} | {"hour": "right", "time": "right"}
    table = _table("where a separated hour goes", **columns)
    for kind in dict.fromkeys(step.step for step in steps):
        row = [step for step in steps if step.step == kind]
        seconds = sum(step.seconds for step in row)
        table.add_row(kind, *(f"{step.share:.1%}" for step in row), f"{seconds / total:.1%}", _time(seconds))
    by_layer = [sum(step.seconds for step in steps if step.layer == layer) for layer in layers]
    table.add_row("hour", *(f"{seconds / total:.1%}" for seconds in by_layer), "100.0%", _time(total))
    table.add_row("time", *map(_time, by_layer), _time(total), "")
    return table


def history_table(records: Sequence[BenchmarkRecord], *, width: int) -> Table:
    """Rows down, dates across, the newest first and as many as fit: time and ratio."""
    names = list(dict.fromkeys(row.name for record in records for row in record.rows))
    fitting = max(1, (width - max(map(len, names))) // (DATE_WIDTH + 2))
    shown = sorted(records, key=lambda record: record.measured, reverse=True)[:fitting]
    table = _table("", **{f"{record.measured.astimezone():%Y-%m-%d %H:%M}": "right" for record in shown})
    for name in names:
        found = [next((row for row in record.rows if row.name == name), None) for record in shown]
        table.add_row(name, *(_past(row) if row else "" for row in found))
    table.add_row("threads", *(str(record.machine.threads) for record in shown))
    table.add_row("torch", *(escape(record.machine.torch) for record in shown))
    table.add_row("ffcli", *(escape(record.machine.revision or record.machine.ffcli) for record in shown))
    return table


def check_table(replays: Sequence[Replayed]) -> Table:
    table = _table(
        "trajectory", hours="right", type="left", weights="right", losses="right", goodness="right", **{"": "left"}
    )
    for one in replays:
        errors = (f"{error:.1e}" for error in (one.weights_error, one.loss_error, one.goodness_error))
        verdict = "[green]exact[/]" if one.exact else f"[red]not within {one.tolerance:g}[/]"
        if not one.same_choices:
            verdict = "[red]another phase, label or prediction[/]"
        table.add_row(one.name, str(one.hours), one.dtype, *errors, verdict)
    return table


def scaling_table(points: Sequence[Point]) -> Table:
    table = _table("", **dict.fromkeys(("value", "per second", "predicted", "measured / predicted"), "right"))
    for (what, quantity), group in groupby(points, lambda point: (point.what, point.quantity)):
        unit = "hours" if what == "hour" else "images evaluated"
        for number, point in enumerate(group):
            title = f"{unit} by {quantity}" if number == 0 else ""
            measured, predicted = point.per_second, point.predicted_per_second
            found = ("left out", "") if measured is None else (f"{measured:,.4g}", f"{measured / predicted:.2f}")
            table.add_row(title, f"{point.value:,}", found[0], f"{predicted:,.4g}", found[1])
        table.add_section()
    return table


def _table(first: str, **columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for title, justify in columns.items():
        table.add_column(title, justify="right" if justify == "right" else "left", no_wrap=True)
    return table


def _past(row: Row) -> str:
    colour = "dim" if row.reached is None else _colour(row.reached)
    return f"[{colour}]{_time(row.seconds)}  {_ratio(row.name, row.ratio)}[/]"


def _reached(row: Row) -> str:
    if row.reached is None:
        return "[dim]not asked[/]"
    return f"[{_colour(row.reached)}]{'yes' if row.reached else 'no'}[/]"


def _colour(reached: bool) -> str:
    return "green" if reached else "red"


def _ratio(name: str, ratio: float) -> str:
    return f"{ratio:.0%}" if name in SHARES else f"{ratio:.2f}x"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
