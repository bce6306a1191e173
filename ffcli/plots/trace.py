"""The figure of a trace: goodness of both kinds of data by layer and its difference, drift, cosine and dead units, hour
by hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import nan
from typing import TYPE_CHECKING, Any

from ffcli.errors import BadOption
from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import (
    GREY,
    NEGATIVE,
    NEGATIVE_PHASE,
    POSITIVE,
    POSITIVE_PHASE,
    SMALL,
    Look,
    labelled,
    legend_below,
    look_of,
    make_figure,
    pages_of,
    root_scale,
)
from ffcli.text import consecutive, counted, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

    from ffcli.records import HourTrace

MAX_STRETCHES = 6
"""Up to this many stretches of consecutive phases have panels of their own; more share one axis of hours."""
MIN_WIDTH = 0.12
"""Width of a stretch at least, as a share of all hours."""
MIN_NUMBERED = 0.055
"""Width of a phase that is numbered at least, as a share of all hours."""
MAX_MARKED = 60
"""Traced hours up to which each has a marker."""

PHASES = {1: ("positive phase", POSITIVE_PHASE), 0: ("negative phase", NEGATIVE_PHASE)}
"""Name and colour by the remainder of the phase's number divided by 2."""

Value = Callable[["HourTrace"], float | None]


def draw(given: OneRun) -> Drawn:
    """Draw the trace of a run.

    Raises:
        BadOption: if it has none.
    """
    from dataclasses import asdict

    if not given.trace:
        raise BadOption(
            f"run {given.short_id} has no trace: `ff train` with --trace 1-4 and --force trains it again with one"
        )
    phases, hours = {row.phase for row in given.trace}, {row.hour for row in given.trace}
    title = f"{', '.join(given.parts)}\n{named('phase', phases)} of run {given.short_id}"
    layers = sorted({row.layer for row in given.trace})
    return Drawn(
        [_page(given.trace, page, given.run.config.threshold, title) for page in pages_of(layers)],
        text=f"{named('phase', phases)}, {counted(len(hours), 'hour')} of run {given.short_id}",
        data={"run": given.run.id, "trace": [asdict(row) for row in given.trace]},
    )


FIGURE = Figure(
    "trace",
    "Draw what `ff train --trace` recorded: goodness, drift, cosine of the gradients and dead units, hour by hour.",
    of_run=draw,
)


def _page(trace: Sequence[HourTrace], layers: Sequence[int], threshold: float, title: str) -> Page:
    """Return the page of some layers."""
    stretches, hours = _stretches(trace), len({row.hour for row in trace})
    figure = make_figure(1.05 * (len(layers) + 4) + 1.3, title)
    axes = figure.subplots(
        len(layers) + 4, len(stretches), squeeze=False, sharex="col", sharey="row",
        width_ratios=[max(len(part), MIN_WIDTH * len(trace)) for part in stretches],
    )  # fmt: skip
    for part, column in zip(stretches, axes.T, strict=True):
        by_layer = {layer: [row for row in part if row.layer == layer] for layer in layers}
        _draw_goodness(column[:-4], by_layer.values(), threshold, marked=hours <= MAX_MARKED)
        _draw_by_layer(column[-4:], by_layer, marked=hours <= MAX_MARKED)
        _shade(column, part, hours)
    _label(axes, layers)
    figure.align_ylabels(axes[:, 0])
    shown = labelled(axes.flat)
    phases = [name for name, _ in PHASES.values() if name in shown]
    others = [name for name in shown if name not in phases]
    legend_below(figure, {name: shown[name] for name in (*others, *phases)}, columns=3)
    return figure


def _stretches(trace: Sequence[HourTrace]) -> list[list[HourTrace]]:
    """Split the trace where phases were not traced."""
    ranges = consecutive(row.phase for row in trace)
    if len(ranges) > MAX_STRETCHES:
        return [list(trace)]
    return [[row for row in trace if row.phase in phases] for phases in ranges]


def _draw_goodness(
    axes: Sequence[Axes], by_layer: Iterable[Sequence[HourTrace]], threshold: float, *, marked: bool
) -> None:
    for axis, rows in zip(axes, by_layer, strict=True):
        axis.axhline(threshold, color=GREY, linewidth=0.9, linestyle=":", label="threshold")
        _line(
            axis,
            rows,
            lambda row: row.goodness_positive,
            Look(POSITIVE, "-", "o"),
            label="positive data",
            marked=marked,
            wide=True,
        )
        _line(
            axis,
            rows,
            lambda row: row.goodness_negative,
            Look(NEGATIVE, "--", "."),
            label="negative data",
            marked=marked,
        )
        # The root of a mean of squares: changes near the threshold stay visible beside an overshoot.
        root_scale(axis)


def _draw_by_layer(axes: Sequence[Axes], by_layer: dict[int, list[HourTrace]], *, marked: bool) -> None:
    difference, drift, cosine, dead = axes
    values: dict[Axes, Value] = {
        difference: _difference,
        drift: lambda row: row.drift,
        cosine: lambda row: row.cosine,
        dead: lambda row: row.dead_units,
    }
    for axis, value in values.items():
        for layer, rows in by_layer.items():
            _line(axis, rows, value, look_of(layer), marked=marked, by_phase=axis is drift, label=f"layer {layer}")
    for axis in (difference, cosine):
        axis.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    root_scale(difference)


def _difference(row: HourTrace) -> float | None:
    if row.goodness_positive is None or row.goodness_negative is None:
        return None
    return row.goodness_positive - row.goodness_negative


def _line(
    axis: Axes,
    rows: Sequence[HourTrace],
    value: Value,
    look: Look,
    *,
    label: str,
    marked: bool,
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
    width, alpha = (3.4, 0.55) if wide else (1.2, 1)
    axis.plot(
        *zip(*points, strict=True), marker=look.marker if marked else "", linestyle=look.linestyle,
        markersize=2.5, linewidth=width, alpha=alpha, color=look.color, label=label,
    )  # fmt: skip


def _shade(column: Sequence[Axes], rows: Sequence[HourTrace], hours_drawn: int) -> None:
    """Shade each phase behind its traced hours, and write its number above the first panel if it is wide enough."""
    phases = [(phase, [row.hour for row in group]) for phase, group in groupby(rows, lambda row: row.phase)]
    for phase, hours in phases:
        for axis in column:
            label, colour = PHASES[phase % 2]
            axis.axvspan(hours[0] - 0.5, hours[-1] + 0.5, color=colour, linewidth=0, zorder=0, label=label)
        if hours[-1] - hours[0] + 1 >= MIN_NUMBERED * hours_drawn:
            column[0].text(
                (hours[0] + hours[-1]) / 2, 1.04, str(phase), transform=column[0].get_xaxis_transform(), ha="center",
                fontsize=SMALL, color=GREY,
            )  # fmt: skip
    column[0].set_xlim(rows[0].hour - 0.5, rows[-1].hour + 0.5)


def _label(axes: Any, layers: Iterable[int]) -> None:
    """Label quantities on the left and hours below, and start the axes of quantities that are never negative at 0."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    names = [
        *(f"goodness\nlayer {layer}" for layer in layers),
        "difference\npos. - neg.",
        "drift in\nthe phase",
        "cosine of\ngradients",
        "dead\nunits",
    ]
    for row, name in zip(axes, names, strict=True):
        row[0].set_ylabel(name, fontsize=SMALL)
        if not name.startswith("difference"):
            row[0].set_ylim(bottom=0)
        row[0].yaxis.set_major_locator(MaxNLocator(4))
        row[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[-2][0].set_ylim(-1.1, 1.1)
    axes[-2][0].set_yticks((-1, 0, 1))
    axes[-1][0].set_ylim(-0.04, 1.04)
    axes[-1][0].set_yticks((0, 0.5, 1))
    axes[-1][0].yaxis.set_major_formatter(PercentFormatter(1))
    for axis in axes[-1]:
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axis.set_xlabel("hour")
