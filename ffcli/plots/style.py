"""The style that all figures share: readable at half the width of a page, also in grey and to colour-blind people.

A figure is `WIDTH` inches wide. Half the text width of a page is about two thirds of that, so the smallest text
(`SMALL`) is printed with 6 points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ffcli.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.2
"""Of every figure, in inches."""
TEXT, SMALL = 10.5, 9.0
"""Sizes of text in points."""
TITLE_CHARACTERS = 76
"""Characters of a line of the title."""

STYLE: dict[str, Any] = {
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "figure.titlesize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2.5,
    "savefig.dpi": 200,
    # The same runs give the same file: the ids of elements do not depend on chance.
    "svg.hashsalt": "ffcli",
    "pdf.fonttype": 42,
}
"""What differs from matplotlib's defaults. A user's own matplotlibrc has no effect."""

BLUE, VERMILION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
GREEN, PURPLE, SKY_BLUE = "#009E73", "#CC79A7", "#56B4E9"
"""The colours of Okabe and Ito, which people with any kind of colour vision can tell apart
(jfly.uni-koeln.de/color)."""

BLACK, DARK_GREY, GREY, LIGHT_GREY = "#000000", "#444444", "#666666", "#999999"

POSITIVE, NEGATIVE = VERMILION, BLUE
"""Positive and negative data."""
POSITIVE_PHASE, NEGATIVE_PHASE = "#FDF0E6", "#C9DCEB"
"""Light shades of the same, behind a phase. The second is darker, so that they differ in grey."""


class Look(NamedTuple):
    """How a line is drawn. Dashes and markers tell lines apart without colours."""

    color: str
    linestyle: Any
    marker: str


LOOKS = (
    Look(BLACK, "-", "o"),
    Look(GREEN, (0, (5, 1.5)), "s"),
    Look(PURPLE, (0, (3, 1, 1, 1)), "^"),
    Look(ORANGE, (0, (1.5, 1)), "D"),
    Look(SKY_BLUE, (0, (7, 1, 1, 1, 1, 1)), "v"),
    Look(GREY, (0, (3, 2)), "P"),
)
"""Looks of the layers of a network, or of several runs. None has the colour of positive or negative data."""

PAGE_LAYERS = len(LOOKS)
"""Layers on a page at most."""


@contextmanager
def styled() -> Iterator[None]:
    """Make and save figures in the style of this module."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def make_figure(height: float, title: str) -> Figure:
    """Return an empty figure with a title, which is wrapped; its height is in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    lines = [textwrap.fill(line, TITLE_CHARACTERS).replace(" ·\n", "\n") for line in title.splitlines()]
    figure.suptitle(plain("\n".join(lines)), fontsize=SMALL, color=DARK_GREY)
    return figure


def labelled(axes: Iterable[Axes]) -> dict[str, Any]:
    """Return what the axes show by its label, each label once."""
    return {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}


def legend_below(figure: Figure, shown: Mapping[str, Any], columns: int) -> None:
    """Draw a legend below the panels."""
    figure.legend(
        list(shown.values()), list(map(plain, shown)), loc="outside lower center", ncols=columns,
        columnspacing=1.2, handlelength=2.6,
    )  # fmt: skip


def accuracy_axis(axis: Axes) -> None:
    """Show all accuracies from 0 to 100 %."""
    axis.set_ylim(0, 103)  # room for the markers at the top
    axis.set_yticks(range(0, 101, 20))
    axis.grid(alpha=0.3)


def finish_grid(axes: Sequence[Axes], used: int, columns: int, x: str, y: str) -> None:
    """Label a grid of panels with shared axes below and on the left, and hide those after the first `used`."""
    for number, axis in enumerate(axes):
        is_last = number + columns >= used
        axis.set_visible(number < used)
        axis.tick_params(labelbottom=is_last)
        if is_last:
            axis.set_xlabel(x)
        if number % columns == 0:
            axis.set_ylabel(y)


def spaced_labels(values: Sequence[int]) -> list[str]:
    """Return the values as text, with an empty text for every other one if there are more than five."""
    return [str(value) if len(values) <= 5 or place % 2 == 0 else "" for place, value in enumerate(values)]


def root_scale(axis: Axes) -> None:
    """Scale the y axis by the signed root: small values stay visible beside large ones, and 0 is allowed."""
    import numpy as np

    axis.set_yscale(
        "function",
        functions=(lambda y: np.sign(y) * np.sqrt(np.abs(y)), lambda root: np.sign(root) * np.square(root)),
    )


def pages_of(layers: Sequence[int]) -> list[list[int]]:
    """Divide layers into pages of nearly equal length, at most `PAGE_LAYERS` each."""
    pages = -(-len(layers) // PAGE_LAYERS) or 1
    bounds = [len(layers) * page // pages for page in range(pages + 1)]
    return [list(layers[start:stop]) for start, stop in pairwise(bounds)]


def look_of(number: int) -> Look:
    """Return the look of layer `number` (from 1), or of a run; looks repeat after `PAGE_LAYERS`."""
    return LOOKS[(number - 1) % len(LOOKS)]


def plain(text: str) -> str:
    """Return printable text with escaped dollar signs: matplotlib sets text between two of them as mathematics."""
    return "\n".join(printable(line).replace("$", r"\$") for line in text.split("\n"))
