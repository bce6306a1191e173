"""What one sees while a sweep runs: a live board on a terminal, one line a finished cell elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ffcli.cli.console import err, is_animated, message
from ffcli.cli.words import describe, duration
from ffcli.estimate import epoch_operations
from ffcli.running.sweep import Cell, Sweep, count_status
from ffcli.schedule import Schedule
from ffcli.text import counted

ENDS = {"done": "green", "cached": "green", "failed": "red", "stopped": "yellow"}


@contextmanager
def watching(*, quiet: bool) -> Iterator[Quiet]:
    """The watcher that fits where stderr goes."""
    if quiet:
        yield Quiet()
    elif not is_animated():
        yield Lines()
    else:
        board = Board()
        with Live(board, console=err(), refresh_per_second=4, transient=True):
            yield board


class Quiet:
    """Nothing but notices and failures."""

    def begins(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def changed(self, cell: Cell) -> None:
        if cell.status == "failed":
            message(f"failed: {cell_line(cell)}")

    def notice(self, text: str) -> None:
        message(text)


class Lines(Quiet):
    """One line a finished cell."""

    def changed(self, cell: Cell) -> None:
        if cell.status in ENDS:
            finished = sum(c.status in ENDS for c in self.sweep.cells)
            message(f"{finished}/{len(self.sweep.cells)}  {cell.status:7} {cell_line(cell)}")


class Board(Quiet):
    """Counts and time left, what each worker does, and the tables filling up."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.trained = 0.0

    def changed(self, cell: Cell) -> None:
        super().changed(cell)
        if cell.status == "running" and cell.metrics and cell.metrics.epoch:
            self.trained += epoch_operations(cell.config)

    def __rich__(self) -> Group | Text:
        if not hasattr(self, "sweep"):
            return Text("looking up what is stored ...", style="dim")
        return Group(self._counts(), self._workers(), *matrices(self.sweep.cells))

    def _counts(self) -> Text:
        cells = self.sweep.cells
        done = count_status(cells, "done") + count_status(cells, "cached")
        parts = [
            (f"{done}/{counted(len(cells), 'cell')}", "bold"),
            (f"  {count_status(cells, 'running')} running", "cyan"),
        ]
        if elsewhere := count_status(cells, "elsewhere"):
            parts.append((f"  {elsewhere} trained by another sweep", ""))
        if failed := count_status(cells, "failed"):
            parts.append((f"  {failed} failed", "red"))
        parts.append((f"  {count_status(cells, 'queued')} queued", ""))
        if self.sweep.stopping:
            parts.append(("  stopping", "yellow"))
        elif left := self._time_left():
            parts.append((f"   about {duration(left)} left", "dim"))
        return Text.assemble(*parts)

    def _time_left(self) -> float | None:
        if not self.trained:
            return None
        left = sum(
            (c.config.epochs - (c.metrics.epoch if c.metrics else 0)) * epoch_operations(c.config)
            for c in self.sweep.cells
            if c.status in ("queued", "running")
        )
        return left * (time.perf_counter() - self.started) / self.trained

    def _workers(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for cell in self.sweep.running:
            epoch = cell.metrics.epoch if cell.metrics else 0
            accuracy = f"{cell.metrics.accuracy:.2f} %" if cell.metrics and cell.metrics.accuracy is not None else ""
            table.add_row(
                f"worker {cell.worker}", describe(cell.config), f"epoch {epoch}/{cell.config.epochs}", accuracy
            )
        return table


def matrices(cells: list[Cell]) -> Iterator[Table]:
    """The cells as tables: balanced and unseparated phases, and the others; mean accuracy of what is done."""
    balanced = [c for c in cells if c.config.schedule.positive == c.config.schedule.negative]
    others = [c for c in cells if c.config.schedule.positive != c.config.schedule.negative]
    for part in (balanced, others):
        if part:
            yield matrix(part)


def matrix(cells: list[Cell]) -> Table:
    """Rows: data and negatives; columns: phases."""
    groups: dict[tuple[str, Schedule], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[f"{cell.config.data.label} {cell.config.negatives}", cell.config.schedule].append(cell)
    schedules = sorted({schedule for _, schedule in groups}, key=lambda s: (s.positive, s.negative))
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("")
    for schedule in schedules:
        table.add_column(str(schedule) if schedule.separated else "unsep.", justify="right")
    for row in dict.fromkeys(row for row, _ in groups):
        table.add_row(row, *(_summary(groups.get((row, schedule), [])) for schedule in schedules))
    return table


def _summary(cells: list[Cell]) -> Text:
    if not cells:
        return Text("")
    done = [c.metrics.accuracy for c in cells if c.status in ("done", "cached") and c.metrics]
    if any(c.status == "failed" for c in cells):
        return Text("failed", style="red")
    if len(done) == len(cells):
        return Text(f"{fmean(a for a in done if a is not None):.1f}", style="green")
    running = next((c for c in cells if c.status == "running" and c.metrics), None)
    if running and running.metrics and running.metrics.accuracy is not None:
        return Text(f"{running.metrics.accuracy:.1f}", style="cyan")
    return Text(f"{len(done)}/{len(cells)}" if done else "·", style="dim")


def cell_line(cell: Cell) -> str:
    """What the cell is and what came of it."""
    if cell.status == "failed":
        return f"{describe(cell.config)}: {cell.reason}"
    accuracy = cell.metrics.accuracy if cell.metrics else None
    return f"{describe(cell.config)}: " + ("-" if accuracy is None else f"{accuracy:.2f} %")
