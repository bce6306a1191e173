"""The figure of training curves: accuracy, goodness of both kinds of data and dead units by layer, epoch by epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ffcli.errors import BadOption
from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import (
    GREY,
    LOOKS,
    NEGATIVE,
    NEGATIVE_PHASE,
    POSITIVE,
    POSITIVE_PHASE,
    SMALL,
    Look,
    accuracy_axis,
    labelled,
    legend_below,
    look_of,
    make_figure,
    pages_of,
    root_scale,
)
from ffcli.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

    from ffcli.records import EpochMetrics

MAX_SHADED = 80
"""Phases up to which each is shaded; more would be too narrow to see."""
MAX_MARKED = 40
"""Epochs up to which each has a marker."""

MAX_NAME, LINE_NAME = 40, 66
"""Characters of a run's name up to which the legend has two columns, and of a line of a longer name."""

LEGEND_LINE = 0.17
"""Height of a line of the legend in inches."""

ENDINGS = {
    "positive": ("ended in a positive phase", POSITIVE, "^"),
    "negative": ("ended in a negative phase", NEGATIVE, "v"),
}


def draw(runs: Sequence[OneRun]) -> Drawn:
    """Draw the curves of one run, or of several for comparison.

    Raises:
        BadOption: if there are too many runs, or one has no evaluated epoch.
    """
    from ffcli.records import epoch_json

    if len(runs) > len(LOOKS):
        raise BadOption(
            f"these are {len(runs)} runs: give at most {len(LOOKS)}, or their lines could not be told apart"
        )
    for given in runs:
        if not _evaluated(given):
            raise BadOption(f"run {given.short_id} has no evaluated epoch yet")
    layers = range(1, 1 + max(len(_evaluated(given)[-1].dead_units or ()) for given in runs))
    return Drawn(
        [_page(runs, page) for page in pages_of(layers)],
        text=f"{_length(runs)} of run{'s' if len(runs) > 1 else ''} {', '.join(given.short_id for given in runs)}",
        data={"runs": [{"id": given.run.id, "epochs": list(map(epoch_json, given.epochs))} for given in runs]},
    )


FIGURE = Figure(
    "curves",
    "Draw accuracy, goodness of positive and negative data, and dead units by layer, epoch by epoch.",
    of_each=draw,
)


def _page(runs: Sequence[OneRun], layers: Sequence[int]) -> Page:
    """Return the page of some layers: accuracy above, then goodness and dead units of each layer."""
    from matplotlib.ticker import MaxNLocator

    names, title = _names(runs)
    columns = 2 if max(map(len, names)) <= MAX_NAME else 1
    names = [textwrap.fill(name, LINE_NAME) for name in names]
    lines = sum(name.count("\n") + 1 for name in names) + 4
    figure = make_figure(1.25 * len(layers) + 3.1 + LEGEND_LINE * lines / columns, title)
    grid = figure.add_gridspec(len(layers) + 1, 2, height_ratios=[1.7, *[1] * len(layers)])
    accuracy = figure.add_subplot(grid[0, :])
    pairs = [[figure.add_subplot(grid[row, column]) for column in (0, 1)] for row in range(1, len(layers) + 1)]
    _draw_accuracy(accuracy, runs, names)
    for layer, (goodness, dead) in zip(layers, pairs, strict=True):
        _draw_goodness(goodness, runs, layer)
        _draw_dead(dead, runs, layer)
        goodness.set_ylabel(f"layer {layer}", fontsize=SMALL)
        for axis in (goodness, dead):
            axis.tick_params(labelbottom=layer == layers[-1])
            axis.set_xlim(accuracy.get_xlim())
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    pairs[0][0].set_title("goodness", fontsize=SMALL)
    pairs[0][1].set_title("dead units", fontsize=SMALL)
    for axis in (accuracy, *pairs[-1]):
        axis.set_xlabel("epoch")
    every = [accuracy, *(axis for pair in pairs for axis in pair)]
    _shade(every, runs)
    legend_below(figure, labelled(every), columns=columns)
    return figure


def _names(runs: Sequence[OneRun]) -> tuple[list[str], str]:
    """Return what tells the runs apart, and the title, which holds what they share."""
    epochs = max(given.run.epochs_done for given in runs)
    if len(runs) == 1:
        return ["accuracy after each epoch"], runs[0].title(epochs)
    columns = list(zip(*(given.parts for given in runs), strict=True))
    shared = [column[0] for column in columns if len(set(column)) == 1]
    own = [[part for part, column in zip(given.parts, columns, strict=True) if len(set(column)) > 1] for given in runs]
    names = [", ".join([*parts, given.short_id]) for parts, given in zip(own, runs, strict=True)]
    return names, f"{', '.join(shared)}\n{_length(runs)}".strip()


def _length(runs: Sequence[OneRun]) -> str:
    """The epochs of the runs in words."""
    fewest, most = (choose(given.run.epochs_done for given in runs) for choose in (min, max))
    return counted(most, "epoch") if fewest == most else f"{fewest} to {counted(most, 'epoch')}"


def _draw_accuracy(axis: Axes, runs: Sequence[OneRun], names: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, (given, name) in enumerate(zip(runs, names, strict=True), start=1):
        epochs, look = _evaluated(given), look_of(number)
        xs, ys = [e.epoch for e in epochs], [e.accuracy or 0 for e in epochs]
        marker = look.marker if len(runs) > 1 and len(epochs) <= MAX_MARKED else ""
        axis.plot(xs, ys, color=look.color, linestyle=look.linestyle, marker=marker, label=name)
        if len(runs) == 1 and len(epochs) <= MAX_MARKED:
            for phase, (label, color, sign) in ENDINGS.items():
                ended = [(e.epoch, e.accuracy) for e in epochs if e.phase == phase]
                if ended:
                    axis.plot(*zip(*ended, strict=True), sign, color=color, markersize=6, label=label)
    for chance in {given.run.config.chance for given in runs}:
        axis.axhline(chance, color=GREY, linestyle=":", linewidth=1.2, label="chance")
    axis.set_ylabel("test accuracy (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy_axis(axis)
    axis.margins(x=0.02)


def _draw_goodness(axis: Axes, runs: Sequence[OneRun], layer: int) -> None:
    for threshold in {given.run.config.threshold for given in runs}:
        axis.axhline(threshold, color=GREY, linestyle="-.", linewidth=0.9, label="threshold")
    for number, given in enumerate(runs, start=1):
        positive, negative = (Look(POSITIVE, "-", ""), Look(NEGATIVE, "--", ""))
        if len(runs) > 1:
            positive, negative = (look_of(number)._replace(linestyle=style) for style in ("-", "--"))
        _line(axis, given, [e.goodness_positive for e in _evaluated(given)], layer, positive)
        _line(axis, given, [e.goodness_negative for e in _evaluated(given)], layer, negative)
    for label, color, dashes in (("positive data", POSITIVE, "-"), ("negative data", NEGATIVE, "--")):
        axis.plot([], [], color=color if len(runs) == 1 else GREY, linestyle=dashes, label=label)
    root_scale(axis)
    axis.set_ylim(bottom=0)


def _draw_dead(axis: Axes, runs: Sequence[OneRun], layer: int) -> None:
    from matplotlib.ticker import PercentFormatter

    for number, given in enumerate(runs, start=1):
        look = look_of(number)._replace(marker="" if len(runs) == 1 else look_of(number).marker)
        _line(axis, given, [e.dead_units for e in _evaluated(given)], layer, look)
    axis.set_ylim(-0.04, 1.04)
    axis.set_yticks((0, 0.5, 1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(alpha=0.3)


def _line(
    axis: Axes,
    given: OneRun,
    by_layer: Iterable[tuple[float, ...] | None],
    layer: int,
    look: Look,
) -> None:
    """Draw the values of one layer by epoch; a run with fewer layers has no line."""
    points = [
        (epoch.epoch, values[layer - 1])
        for epoch, values in zip(_evaluated(given), by_layer, strict=True)
        if values is not None and layer <= len(values)
    ]
    if points:
        axis.plot(
            *zip(*points, strict=True), color=look.color, linestyle=look.linestyle, marker=look.marker, markersize=3,
        )  # fmt: skip


def _shade(axes: Sequence[Axes], runs: Sequence[OneRun]) -> None:
    """Shade the phases behind all panels, if the runs share them and they are wide enough to see."""
    from ffcli.schedule import phase_hours, phase_number

    config = runs[0].run.config
    hours_by_epoch = {(given.run.config.schedule, given.run.config.hours / given.run.config.epochs) for given in runs}
    hours = max(given.epochs[-1].hour for given in runs)
    if not config.schedule.separated or len(hours_by_epoch) > 1 or not hours:
        return
    phases = phase_number(config.schedule, hours - 1)
    if phases > MAX_SHADED:
        return
    per_epoch = config.hours / config.epochs
    for number in range(1, phases + 1):
        of_phase = phase_hours(config.schedule, number)
        label, color = ("positive phase", POSITIVE_PHASE) if number % 2 else ("negative phase", NEGATIVE_PHASE)
        for axis in axes:
            axis.axvspan(
                of_phase.start / per_epoch, min(of_phase.stop, hours) / per_epoch, color=color, linewidth=0, zorder=0,
                label=label,
            )  # fmt: skip


def _evaluated(given: OneRun) -> list[EpochMetrics]:
    return [epoch for epoch in given.epochs if epoch.accuracy is not None]
