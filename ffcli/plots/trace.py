"""The picture of a trace: goodness of both kinds by layer, drift, cosine and dead units, hour by hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcli.config import RunConfig
from ffcli.plots.style import BLUE, VERMILION, plain
from ffcli.records import HourTrace
from ffcli.text import consecutive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITIVE, NEGATIVE = VERMILION, BLUE
"""The phases are shaded alike."""
AWAKE, ASLEEP = "#FCEEE3", "#DFECF5"
GREY = "#666666"

COLUMNS = 6
"""Stretches of phases in a row that stand side by side; where there are more, all share one axis of hours."""
NARROWEST = 0.12
"""Of a column, as a share of all hours."""
NAMED = 20
"""Phases that are numbered, at most."""

Value = Callable[[HourTrace], float | None]


def save_trace(trace: Sequence[HourTrace], config: RunConfig, title: str, file: Path) -> None:
    """Draw a trace, which is not empty, in the format that the file's name ends in.

    Raises OSError where it cannot be written.
    """
    from matplotlib.figure import Figure

    layers = sorted({row.layer for row in trace})
    stretches = _stretches(trace)
    figure = Figure(figsize=(9.5, 1.45 * (len(layers) + 3) + 1.2), layout="constrained")
    axes = figure.subplots(
        len(layers) + 3, len(stretches), squeeze=False, sharex="col", sharey="row",
        width_ratios=[max(len(part), NARROWEST * len(trace)) for part in stretches],
    )  # fmt: skip
    for part, column in zip(stretches, axes.T, strict=True):
        by_layer = [[row for row in part if row.layer == layer] for layer in layers]
        _draw_goodness(column[:-3], by_layer, config.threshold)
        _draw_by_layer(column[-3:], by_layer)
        _shade(column, part)
    _name(axes, layers)
    figure.align_ylabels(axes[:, 0])
    _explain(figure, axes, title)
    figure.savefig(file, dpi=150)


def _stretches(trace: Sequence[HourTrace]) -> list[list[HourTrace]]:
    """The trace cut where phases were left out."""
    ranges = consecutive(row.phase for row in trace)
    if len(ranges) > COLUMNS:
        return [list(trace)]
    return [[row for row in trace if row.phase in phases] for phases in ranges]


def _draw_goodness(axes: Sequence[Axes], by_layer: Sequence[Sequence[HourTrace]], threshold: float) -> None:
    import numpy as np

    for axis, rows in zip(axes, by_layer, strict=True):
        axis.axhline(threshold, color=GREY, linewidth=0.8, linestyle=":", label="threshold")
        _line(axis, rows, lambda row: row.goodness_positive, color=POSITIVE, wide=True, label="goodness, positive data")
        _line(axis, rows, lambda row: row.goodness_negative, color=NEGATIVE, label="goodness, negative data")
        # Of a mean of squares the root: what happens near the threshold is seen beside an overshoot far beyond.
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
    """Broken where hours or values are missing, and `by_phase` where a phase begins; `wide` shows behind another."""
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
    """Each phase behind its traced hours, which are counted where they end; its number above the first panel."""
    phases = [(phase, [row.hour for row in group]) for phase, group in groupby(rows, lambda row: row.phase)]
    for phase, hours in phases:
        for axis in column:
            colour, label = (AWAKE, "awake") if phase % 2 else (ASLEEP, "asleep")
            axis.axvspan(hours[0] - 0.5, hours[-1] + 0.5, color=colour, linewidth=0, zorder=0, label=label)
        if len(phases) <= NAMED:
            column[0].text(
                (hours[0] + hours[-1]) / 2, 1.03, str(phase), transform=column[0].get_xaxis_transform(), ha="center",
                fontsize="small", color=GREY,
            )  # fmt: skip
    column[0].set_xlim(rows[0].hour - 0.5, rows[-1].hour + 0.5)


def _name(axes: Any, layers: Iterable[int]) -> None:
    """The quantities on the left, hours below; only what is 0 at least begins there."""
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
            axis.spines[["top", "right"]].set_visible(False)
    axes[-2][0].set_ylim(-1.1, 1.1)
    axes[-1][0].set_ylim(-0.04, 1.04)
    axes[-1][0].yaxis.set_major_formatter(PercentFormatter(1))
    for axis in axes[-1]:
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axis.set_xlabel("hour")


def _explain(figure: Figure, axes: Any, title: str) -> None:
    named: dict[str, Any] = {}
    for axis in axes.flat:
        named |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    phases = [(named.pop(name), name) for name in ("awake", "asleep") if name in named]
    handles, labels = zip(*[*((handle, label) for label, handle in named.items()), *phases], strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    figure.suptitle(plain(title), fontsize="medium")
