"""The figure of a trace: goodness of both kinds of data by layer, drift, cosine and dead units, hour by hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcli.errors import BadOption
from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import (
    GREY,
    NEGATIVE,
    NEGATIVE_PHASE,
    POSITIVE,
    POSITIVE_PHASE,
    labelled,
    legend_below,
    make_figure,
    open_frame,
    plain,
)
from ffcli.text import consecutive, counted, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ffcli.records import HourTrace

MAX_STRETCHES = 6
"""Up to this many stretches of consecutive phases have panels of their own; more share one axis of hours."""
MIN_WIDTH = 0.12
"""Width of a stretch at least, as a share of all hours."""
MAX_NUMBERED = 20
"""Phases of a stretch that are numbered."""

PHASES = {1: ("positive phase", POSITIVE_PHASE), 0: ("negative phase", NEGATIVE_PHASE)}
"""Name and colour by the remainder of the phase's number divided by 2."""

Value = Callable[["HourTrace"], float | None]


def draw(given: OneRun, file: Path) -> Drawn:
    """Draw the trace of a run.

    Raises:
        BadOption: if it has none.
        OSError: if the file cannot be written.
    """
    from dataclasses import asdict

    if not given.trace:
        raise BadOption(
            f"run {given.short_id} has no trace: `ff train` with --trace 1-4 and --force trains it again with one"
        )
    save_trace(given.trace, given.run.config.threshold, f"{given.description}, run {given.short_id}", file)
    phases, hours = {row.phase for row in given.trace}, {row.hour for row in given.trace}
    return Drawn(
        text=f"{named('phase', phases)}, {counted(len(hours), 'hour')} of run {given.short_id}",
        data={"run": given.run.id, "trace": [asdict(row) for row in given.trace]},
    )


FIGURE = Figure(
    "trace",
    "Draw what `ff train --trace` recorded: goodness, drift, cosine of the gradients and dead units, hour by hour.",
    of_run=draw,
)


def save_trace(trace: Sequence[HourTrace], threshold: float, title: str, file: Path) -> None:
    """Write the figure in the format of the file's ending.

    Args:
        trace: at least one hour.
        threshold: the run's threshold of goodness.
        title: a line above the panels.
        file: the file to write.

    Raises:
        OSError: if the file cannot be written.
    """
    layers = sorted({row.layer for row in trace})
    stretches = _stretches(trace)
    figure = make_figure(9.5, 1.45 * (len(layers) + 3) + 1.2)
    axes = figure.subplots(
        len(layers) + 3, len(stretches), squeeze=False, sharex="col", sharey="row",
        width_ratios=[max(len(part), MIN_WIDTH * len(trace)) for part in stretches],
    )  # fmt: skip
    for part, column in zip(stretches, axes.T, strict=True):
        by_layer = [[row for row in part if row.layer == layer] for layer in layers]
        _draw_goodness(column[:-3], by_layer, threshold)
        _draw_by_layer(column[-3:], by_layer)
        _shade(column, part)
    _label(axes, layers)
    figure.align_ylabels(axes[:, 0])
    shown = labelled(axes.flat)
    phases = [name for name, _ in PHASES.values() if name in shown]
    others = [name for name in shown if name not in phases]
    legend_below(figure, {name: shown[name] for name in (*others, *phases)}, columns=5)
    figure.suptitle(plain(title), fontsize="medium")
    figure.savefig(file)


def _stretches(trace: Sequence[HourTrace]) -> list[list[HourTrace]]:
    """Split the trace where phases were not traced."""
    ranges = consecutive(row.phase for row in trace)
    if len(ranges) > MAX_STRETCHES:
        return [list(trace)]
    return [[row for row in trace if row.phase in phases] for phases in ranges]


def _draw_goodness(axes: Sequence[Axes], by_layer: Sequence[Sequence[HourTrace]], threshold: float) -> None:
    import numpy as np

    for axis, rows in zip(axes, by_layer, strict=True):
        axis.axhline(threshold, color=GREY, linewidth=0.8, linestyle=":", label="threshold")
        _line(axis, rows, lambda row: row.goodness_positive, color=POSITIVE, wide=True, label="goodness, positive data")
        _line(axis, rows, lambda row: row.goodness_negative, color=NEGATIVE, label="goodness, negative data")
        # The root of a mean of squares: changes near the threshold stay visible beside an overshoot.
        axis.set_yscale("function", functions=(lambda g: np.sqrt(np.maximum(g, 0)), np.square))


def _draw_by_layer(axes: Sequence[Axes], by_layer: Sequence[Sequence[HourTrace]]) -> None:
    from matplotlib import colormaps

    drift, cosine, dead = axes
    values: dict[Axes, Value] = {
        drift: lambda row: row.drift,
        cosine: lambda row: row.cosine,
        dead: lambda row: row.dead_units,
    }
    for axis, value in values.items():
        for number, rows in enumerate(by_layer):
            shade = colormaps["viridis"](0.85 * number / max(1, len(by_layer) - 1))
            _line(axis, rows, value, by_phase=axis is drift, color=shade, label=f"layer {number + 1}")
    cosine.axhline(0, color=GREY, linewidth=0.8, zorder=1)


def _line(
    axis: Axes,
    rows: Sequence[HourTrace],
    value: Value,
    *,
    color: Any,
    label: str,
    wide: bool = False,
    by_phase: bool = False,
) -> None:
    """Draw a line, interrupted where hours or values are missing and, `by_phase`, where a phase begins.

    `wide` stays visible behind another line.
    """
    points: list[tuple[int, float]] = []
    for before, row in zip([None, *rows], rows, strict=False):
        if before and (row.hour > before.hour + 1 or (by_phase and row.phase > before.phase)):
            points.append((row.hour, nan))
        found = value(row)
        points.append((row.hour, nan if found is None else found))
    width, size, alpha = (3.6, 8, 0.5) if wide else (1.2, 3, 1)
    axis.plot(
        *zip(*points, strict=True), marker=".", markersize=size, linewidth=width, alpha=alpha, color=color, label=label
    )


def _shade(column: Sequence[Axes], rows: Sequence[HourTrace]) -> None:
    """Shade each phase behind its traced hours, and write its number above the first panel."""
    phases = [(phase, [row.hour for row in group]) for phase, group in groupby(rows, lambda row: row.phase)]
    for phase, hours in phases:
        for axis in column:
            label, colour = PHASES[phase % 2]
            axis.axvspan(hours[0] - 0.5, hours[-1] + 0.5, color=colour, linewidth=0, zorder=0, label=label)
        if len(phases) <= MAX_NUMBERED:
            column[0].text(
                (hours[0] + hours[-1]) / 2, 1.03, str(phase), transform=column[0].get_xaxis_transform(), ha="center",
                fontsize="small", color=GREY,
            )  # fmt: skip
    column[0].set_xlim(rows[0].hour - 0.5, rows[-1].hour + 0.5)


def _label(axes: Any, layers: Iterable[int]) -> None:
    """Label quantities on the left and hours below, and start the axes of quantities that are never negative at 0."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    names = [
        *(f"goodness\nlayer {layer}\n(√ scale)" for layer in layers),
        "drift in\nthe phase",
        "cosine of\ngradients",
        "dead\nunits",
    ]
    for row, name in zip(axes, names, strict=True):
        row[0].set_ylabel(name)
        row[0].set_ylim(bottom=0)
        for axis in row:
            open_frame(axis)
    axes[-2][0].set_ylim(-1.1, 1.1)
    axes[-1][0].set_ylim(-0.04, 1.04)
    axes[-1][0].yaxis.set_major_formatter(PercentFormatter(1))
    for axis in axes[-1]:
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axis.set_xlabel("hour")
