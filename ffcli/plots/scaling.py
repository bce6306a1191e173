"""The figure of `ff bench --scaling`: measured points on the line that the formula predicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ffcli.plots.style import BLUE, VERMILION, labelled, legend_below, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ffcli.bench.scaling import Point
    from ffcli.benchmark import Machine

MEASURED, PREDICTED = BLUE, VERMILION

COLUMNS = 3
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


def save_scaling(points: Sequence[Point], machine: Machine, default: str, file: Path) -> None:
    """Write the figure in the format of the file's ending.

    Args:
        points: at least one.
        machine: where they were measured.
        default: describes the setting from which one quantity is varied at a time.
        file: the file to write.

    Raises:
        OSError: if the file cannot be written.
    """
    panels = [(key, list(group)) for key, group in groupby(points, lambda point: (point.what, point.quantity))]
    rows = -(-len(panels) // COLUMNS)
    figure = make_figure(3.6 * COLUMNS, 2.9 * rows + 1.0)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axis, ((what, quantity), group) in zip(axes, panels, strict=False):
        _draw(axis, group)
        axis.set_xlabel(UNITS[quantity])
        axis.set_ylabel(PER_SECOND[what])
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    legend_below(figure, labelled(axes[:1]), columns=2)
    figure.suptitle(f"{default}\n{machine.processor}, torch {machine.torch}", fontsize="medium")
    figure.savefig(file)


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
    axis.set_xticks(values, labels=[f"{value:,}" for value in values])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda rate, _: f"{rate:,g}")
    axis.minorticks_off()
    axis.grid(alpha=0.3)
