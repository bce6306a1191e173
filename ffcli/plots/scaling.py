"""The figure of `ff bench --scaling`: measured points on the line that the formula predicts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ffcli.plots.style import BLUE, VERMILION, labelled, legend_below, make_figure, spaced_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

    from ffcli.bench.scaling import Point
    from ffcli.benchmark import Machine

MEASURED, PREDICTED = BLUE, VERMILION

COLUMNS = 2
LABEL_CHARACTERS = 20
"""Of a line of a label beside a panel."""
UNITS = {
    "batch size": "images per hour",
    "width": "units of each layer",
    "depth": "layers",
    "updates per batch": "updates per batch",
    "classes": "classes",
    "threads": "threads",
}
MARGIN = 1.8
"""Factor above and below the rates, so that a quantity that changes nothing shows as a level line."""

PER_SECOND = {"hour": "hours per second", "evaluation": "images evaluated per second"}


def draw_scaling(points: Sequence[Point], machine: Machine, default: str) -> Page:
    """Return the figure.

    Args:
        points: at least one.
        machine: where they were measured.
        default: describes the setting from which one quantity is varied at a time.
    """
    panels = [(key, list(group)) for key, group in groupby(points, lambda point: (point.what, point.quantity))]
    rows = -(-len(panels) // COLUMNS)
    figure = make_figure(1.95 * rows + 1.2, f"{default}; {machine.processor}, torch {machine.torch}")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axis, ((what, quantity), group) in zip(axes, panels, strict=False):
        _draw(axis, group)
        axis.set_xlabel(UNITS[quantity])
        axis.set_ylabel(textwrap.fill(PER_SECOND[what], LABEL_CHARACTERS))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    legend_below(figure, labelled(axes[:1]), columns=1)
    return figure


def _draw(axis: Axes, points: Sequence[Point]) -> None:
    from matplotlib.ticker import LogLocator

    values = [point.value for point in points]
    predicted = [point.predicted_per_second for point in points]
    measured = [(point.value, point.per_second) for point in points if point.per_second is not None]
    axis.plot(
        values, predicted, "--", color=PREDICTED, label="predicted: operations of the formula at the default's rate"
    )
    axis.plot([value for value, _ in measured], [rate for _, rate in measured], "o", color=MEASURED, label="measured")
    drawn = [*predicted, *(rate for _, rate in measured)]
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(min(drawn) / MARGIN, max(drawn) * MARGIN)
    axis.set_xticks(values, labels=spaced_labels(values))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda rate, _: f"{rate:,g}")
    axis.minorticks_off()
    axis.grid(alpha=0.3)
