"""The style that all figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
GREEN, PURPLE, SKY_BLUE = "#009E73", "#CC79A7", "#56B4E9"
"""The colours of Okabe and Ito, which people with any kind of colour vision can tell apart
(jfly.uni-koeln.de/color)."""

BLACK, DARK_GREY, GREY, LIGHT_GREY = "#000000", "#444444", "#666666", "#999999"

POSITIVE, NEGATIVE = VERMILION, BLUE
"""Positive and negative data."""
POSITIVE_PHASE, NEGATIVE_PHASE = "#FCEEE3", "#DFECF5"
"""Light shades of the same, behind a phase."""


def make_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def open_frame(axis: Axes) -> None:
    """Draw the frame on the left and at the bottom only."""
    axis.spines[["top", "right"]].set_visible(False)


def labelled(axes: Iterable[Axes]) -> dict[str, Any]:
    """Return what the axes show by its label, each label once."""
    return {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}


def legend_below(figure: Figure, shown: Mapping[str, Any], columns: int) -> None:
    """Draw a legend below the panels."""
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
    )


def plain(text: str) -> str:
    """Return text in which dollar signs are escaped: matplotlib sets text between two of them as mathematics."""
    return text.replace("$", r"\$")
