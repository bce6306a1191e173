"""What one sees while a run trains: a live display on a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ffcli.cli.console import err, is_animated, message
from ffcli.cli.words import PHASE_WORDS, describe, duration, sparkline
from ffcli.config import RunConfig
from ffcli.records import ID_DIGITS, EpochMetrics
from ffcli.schedule import Phase

if TYPE_CHECKING:
    from ffcli.engine.training import TrainingState


WIDE = 80
"""Columns from which on the progress is one line with a bar; fewer get no bar, and wrap."""


class TrainingWatcher(Protocol):
    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None: ...
    def epoch_ended(self, metrics: EpochMetrics) -> None: ...
    def notice(self, text: str) -> None: ...


@contextmanager
def watching(config: RunConfig, *, quiet: bool) -> Iterator[TrainingWatcher]:
    """The watcher that fits where stderr goes."""
    if quiet:
        yield Quiet()
    elif not is_animated():
        yield Lines()
    else:
        watcher = Display()
        with Live(watcher, console=err(), refresh_per_second=8, transient=True):
            yield watcher


class Quiet:
    """Nothing but notices."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        pass

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        pass

    def notice(self, text: str) -> None:
        message(text)


class Lines(Quiet):
    """One line an epoch."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        self.epochs = config.epochs
        going_on = f", continued after epoch {state.epoch}" if state.epoch else ""
        message(f"{describe(config)}: run {run_id[:ID_DIGITS]}{going_on}")

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        message(epoch_line(metrics, self.epochs))


class Display(Quiet):
    """Epoch, hour and phase, accuracy with its history, goodness of both kinds by layer, time left."""

    def __init__(self) -> None:
        self.config: RunConfig | None = None
        self.history: list[EpochMetrics] = []

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        self.run_id, self.state, self.ended = run_id, state, state.epoch
        self.first_hour, self.started = state.hour, time.perf_counter()
        self.config = config

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        self.ended = metrics.epoch

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.config is None:
            yield Text("loading torch and the data ...", style="dim")
            return
        yield Text.assemble((describe(self.config), "bold"), (f"   run {self.run_id[:ID_DIGITS]}", "dim"))
        yield self._progress(narrow=options.max_width < WIDE)
        yield from self._measures()

    def _progress(self, *, narrow: bool) -> Table | Text:
        from ffcli.schedule import phase_of

        assert self.config is not None
        hours = self.config.hours
        hour = self.state.hour
        phase: Phase = phase_of(self.config.schedule, hour)
        # Not the state's epoch, which is ahead of what is saved while the epoch is evaluated.
        epoch = f"epoch {min(self.ended + 1, self.config.epochs)}/{self.config.epochs}"
        measured = (
            Text(f"hour {hour}"),
            Text(PHASE_WORDS[phase], style={"positive": "yellow", "negative": "blue"}.get(phase, "")),
            Text(self._time_left(hours - hour), style="dim"),
        )
        if narrow:
            return Text("  ").join([Text(epoch), *measured])
        row = Table.grid(padding=(0, 2))
        row.add_row(epoch, ProgressBar(total=hours, completed=min(hour, hours), width=24), *measured)
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
        kinds = zip(last.goodness_positive or (), last.goodness_negative or (), last.dead_units or (), strict=True)
        for number, (true, wrong, dead) in enumerate(kinds, start=1):
            style = "red" if dead > 0.9 else ""
            yield Text.assemble(
                f"layer {number}   goodness true {true:.2f}  wrong {wrong:.2f}   ", (f"dead units {dead:.0%}", style)
            )


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """`epoch  3/20  hour   354  awake   accuracy 71.20 %  goodness 2.34|2.12 1.40|1.31  dead 4% 31%  4.2 s`."""
    accuracy = "not measured" if metrics.accuracy is None else f"{metrics.accuracy:6.2f} %"
    parts = [
        f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}",
        f"hour {metrics.hour:>6}",
        f"{PHASE_WORDS[metrics.phase]:<10}",
        f"accuracy {accuracy}",
    ]
    if metrics.goodness_positive and metrics.goodness_negative:
        parts.append("goodness " + _pairs(metrics.goodness_positive, metrics.goodness_negative))
    if metrics.dead_units:
        parts.append("dead " + " ".join(f"{share:.0%}" for share in metrics.dead_units))
    return "  ".join([*parts, duration(metrics.seconds)])


def _pairs(true: Sequence[float], wrong: Sequence[float]) -> str:
    return " ".join(f"{t:.2f}|{w:.2f}" for t, w in zip(true, wrong, strict=True))
