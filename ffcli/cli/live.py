"""Progress of a run and of a sweep, on stderr: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ffcli.cli.console import err, is_animated, message
from ffcli.cli.words import PHASE_WORDS, describe, duration, sparkline
from ffcli.config import RunConfig
from ffcli.estimate import operations_left
from ffcli.records import ID_DIGITS, EpochMetrics
from ffcli.schedule import Schedule, phase_of
from ffcli.text import counted, printable

if TYPE_CHECKING:
    from ffcli.engine.training import TrainingState
    from ffcli.running.sweep import Cell, Sweep

BAR_COLUMNS = 80
"""Width of a terminal from which on the display of a run has a progress bar."""

END_STYLES = {"done": "green", "cached": "green", "failed": "red", "stopped": "yellow"}
"""States in which a cell of a sweep has ended."""

MAX_WORKER_LINES = 16
"""Number of workers up to which each has a line."""

PHASE_STYLES = {"positive": "yellow", "negative": "blue"}

MOSTLY_DEAD = 0.9
"""Share of dead units from which on a layer is shown in red."""

Watcher = TypeVar("Watcher")


def watching_training(*, quiet: bool) -> AbstractContextManager[QuietTraining]:
    """Return a context manager that shows the progress of a run; `quiet` shows notices only."""
    return _watching(QuietTraining, TrainingLines, TrainingDisplay, quiet=quiet, refreshes=8)


def watching_sweep(*, quiet: bool) -> AbstractContextManager[QuietSweep]:
    """Return a context manager that shows the progress of a sweep; `quiet` shows notices and failures only."""
    return _watching(QuietSweep, SweepLines, SweepDisplay, quiet=quiet, refreshes=4)


@contextmanager
def _watching(
    silent: Callable[[], Watcher], lines: Callable[[], Watcher], display: Callable[[], Any], *, quiet: bool,
    refreshes: int,
) -> Iterator[Watcher]:  # fmt: skip
    """Yield the watcher that suits stderr; a display is drawn `refreshes` times per second.

    When a display ends, also by Ctrl-C, its last line stays.
    """
    if quiet:
        yield silent()
    elif not is_animated():
        yield lines()
    else:
        watcher = display()
        try:
            with Live(watcher, console=err(), refresh_per_second=refreshes, transient=True):
                yield watcher
        finally:
            if last := watcher.last_line():
                err().print(last, soft_wrap=True)


class QuietTraining:
    """Show only notices."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        pass

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        pass

    def notice(self, text: str) -> None:
        message(text)


class TrainingLines(QuietTraining):
    """Print one line per epoch."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        self.epochs = config.epochs
        continued = f", continued after epoch {state.epoch}" if state.epoch else ""
        message(f"{describe(config)}: run {run_id[:ID_DIGITS]}{continued}")

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        message(epoch_line(metrics, self.epochs))


class TrainingDisplay(QuietTraining):
    """Show epoch, hour, phase, time left, accuracy with its history, and goodness and dead units by layer."""

    def __init__(self) -> None:
        self.config: RunConfig | None = None
        self.history: list[EpochMetrics] = []

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        self.run_id, self.state, self.epochs_done = run_id, state, state.epoch
        self.first_hour, self.started = state.hour, time.perf_counter()
        self.config, self.epochs = config, config.epochs

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        self.epochs_done = metrics.epoch

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.config is None:
            yield Text("loading torch and the data ...", style="dim")
            return
        yield Text.assemble((describe(self.config), "bold"), (f"   run {self.run_id[:ID_DIGITS]}", "dim"))
        yield self._progress(self.config, narrow=options.max_width < BAR_COLUMNS)
        yield from self._measures()

    def last_line(self) -> Text | None:
        """The last epoch, which stays when the display ends; None if there is none."""
        return Text(epoch_line(self.history[-1], self.epochs)) if self.history else None

    def _progress(self, config: RunConfig, *, narrow: bool) -> Table | Text:
        hour = self.state.hour
        phase = phase_of(config.schedule, hour)
        # `state.epoch` increases before the epoch is evaluated and saved.
        epoch = f"epoch {min(self.epochs_done + 1, config.epochs)}/{config.epochs}"
        rest = (
            Text(f"hour {hour}"),
            Text(PHASE_WORDS[phase], style=PHASE_STYLES.get(phase, "")),
            Text(self._time_left(config.hours - hour), style="dim"),
        )
        if narrow:
            return Text("  ").join([Text(epoch), *rest])
        row = Table.grid(padding=(0, 2))
        row.add_row(epoch, ProgressBar(total=config.hours, completed=min(hour, config.hours), width=24), *rest)
        return row

    def _time_left(self, hours: int) -> str:
        done = self.state.hour - self.first_hour
        if not done:
            return ""
        return f"{duration(max(0, hours) * (time.perf_counter() - self.started) / done)} left"

    def _measures(self) -> Iterator[Text]:
        measured = [m for m in self.history if m.accuracy is not None]
        if not measured:
            return
        last = measured[-1]
        yield Text.assemble(
            "accuracy  ", (f"{last.accuracy:.2f} %", "bold green"), "  ", sparkline([m.accuracy for m in measured])
        )
        layers = zip(last.goodness_positive or (), last.goodness_negative or (), last.dead_units or (), strict=True)
        for number, (true, wrong, dead) in enumerate(layers, start=1):
            style = "red" if dead > MOSTLY_DEAD else ""
            yield Text.assemble(
                f"layer {number}   goodness true {true:.2f}  wrong {wrong:.2f}   ", (f"dead units {dead:.0%}", style)
            )


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """Return one epoch as text.

    For example `epoch  3/20  hour    354  positive  accuracy  71.20 %  goodness 2.34|2.12 1.40|1.31  dead 4% 31%
    4.2 s`: goodness with the true and with a wrong label, and the share of dead units, for each layer.
    """
    accuracy = "not measured" if metrics.accuracy is None else f"{metrics.accuracy:6.2f} %"
    parts = [
        f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}",
        f"hour {metrics.hour:>6}",
        f"{PHASE_WORDS[metrics.phase]:<9}",
        f"accuracy {accuracy}",
    ]
    if metrics.goodness_positive and metrics.goodness_negative:
        parts.append("goodness " + _pairs(metrics.goodness_positive, metrics.goodness_negative))
    if metrics.dead_units:
        parts.append("dead " + " ".join(f"{share:.0%}" for share in metrics.dead_units))
    return "  ".join([*parts, duration(metrics.seconds)])


def _pairs(true: Sequence[float], wrong: Sequence[float]) -> str:
    return " ".join(f"{t:.2f}|{w:.2f}" for t, w in zip(true, wrong, strict=True))


class QuietSweep:
    """Show only notices and failures."""

    def begins(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def changed(self, cell: Cell) -> None:
        if cell.status == "failed":
            message(f"failed: {cell_line(cell)}")

    def notice(self, text: str) -> None:
        message(text)


class SweepLines(QuietSweep):
    """Print one line per finished cell."""

    def changed(self, cell: Cell) -> None:
        if cell.status in END_STYLES:
            finished = sum(c.status in END_STYLES for c in self.sweep.cells)
            message(f"{finished}/{len(self.sweep.cells)}  {cell.status:7} {cell_line(cell)}")


class SweepDisplay(QuietSweep):
    """Show counts, time left, the run of each worker, and tables of the results so far."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.operations_done = 0.0

    def changed(self, cell: Cell) -> None:
        super().changed(cell)
        if cell.status == "running" and cell.metrics and cell.metrics.epoch:
            epoch = cell.metrics.epoch
            self.operations_done += self._left(cell.config, epoch - 1) - self._left(cell.config, epoch)

    def __rich__(self) -> Group | Text:
        if not hasattr(self, "sweep"):
            return Text("looking for stored runs ...", style="dim")
        return Group(self._counts(), self._workers(), *result_tables(self.sweep.cells))

    def last_line(self) -> Text | None:
        """The counts, which stay when the display ends; None before the sweep begins."""
        return self._counts() if hasattr(self, "sweep") else None

    def _counts(self) -> Text:
        number = Counter(cell.status for cell in self.sweep.cells)
        parts = [
            (f"{number['done'] + number['cached']}/{counted(len(self.sweep.cells), 'cell')}", "bold"),
        ]
        if number["running"]:
            parts.append((f"  {number['running']} running", "cyan"))
        if number["elsewhere"]:
            parts.append((f"  {number['elsewhere']} trained by another sweep", ""))
        if number["failed"]:
            parts.append((f"  {number['failed']} failed", "red"))
        if number["stopped"]:
            parts.append((f"  {number['stopped']} stopped", "yellow"))
        if number["queued"]:
            parts.append((f"  {number['queued']} queued", ""))
        if self.sweep.stopping:
            parts.append(("  stopping", "yellow"))
        elif left := self._time_left():
            parts.append((f"   about {duration(left)} left", "dim"))
        return Text.assemble(*parts)

    def _time_left(self) -> float | None:
        if not self.operations_done:
            return None
        left = sum(
            self._left(c.config, c.metrics.epoch if c.metrics else 0)
            for c in self.sweep.cells
            if c.status in ("queued", "running")
        )
        return left * (time.perf_counter() - self.started) / self.operations_done

    def _left(self, config: RunConfig, epochs_done: int) -> float:
        return operations_left(config, epochs_done, eval_every=self.sweep.request.eval_every)

    def _workers(self) -> Table:
        """The run of each worker, or, if these are many, the number of runs of each host."""
        running, table = self.sweep.running, Table.grid(padding=(0, 2))
        if len(running) > MAX_WORKER_LINES:
            hosts = Counter(cell.worker.host for cell in running if cell.worker)
            for host, number in sorted(hosts.items())[:MAX_WORKER_LINES]:
                table.add_row(f"host {printable(host)}", counted(number, "run"))
            if len(hosts) > MAX_WORKER_LINES:
                table.add_row(f"and {counted(len(hosts) - MAX_WORKER_LINES, 'more host')}")
            return table
        several = len({cell.worker.host for cell in running if cell.worker}) > 1
        for cell in running:
            epoch = cell.metrics.epoch if cell.metrics else 0
            accuracy = f"{cell.metrics.accuracy:.2f} %" if cell.metrics and cell.metrics.accuracy is not None else ""
            host = f"{printable(cell.worker.host)} " if several and cell.worker else "worker "
            worker = f"{host}{cell.worker.pid}" if cell.worker else ""
            table.add_row(worker, describe(cell.config), f"epoch {epoch}/{cell.config.epochs}", accuracy)
        return table


def result_tables(cells: list[Cell]) -> Iterator[Table]:
    """Yield two tables of mean accuracies: schedules with phases of equal length or none, and all others."""
    equal = [c for c in cells if c.config.schedule.positive == c.config.schedule.negative]
    unequal = [c for c in cells if c.config.schedule.positive != c.config.schedule.negative]
    for part in (equal, unequal):
        if part:
            yield _result_table(part)


def _result_table(cells: list[Cell]) -> Table:
    """Rows are datasets with negatives, columns are schedules."""
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
    """The mean accuracy if all runs of a cell are done, else its progress."""
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
    """Return a cell with its result: the accuracy, or the reason for its failure."""
    if cell.status == "failed":
        return f"{describe(cell.config)}: {cell.reason}"
    accuracy = cell.metrics.accuracy if cell.metrics else None
    return f"{describe(cell.config)}: " + ("-" if accuracy is None else f"{accuracy:.2f} %")
