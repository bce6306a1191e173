"""The figure of negatives: how positive images become negative ones, and the overlay of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffcli.plots import Drawn, Figure
from ffcli.plots.style import GREY, NEGATIVE, POSITIVE, SMALL, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ffcli.records import NegativeSteps

ROWS = 5
COLUMNS = 6
"""Pictures in a row at most, unless one example has more."""


def draw(given: NegativeSteps) -> Drawn:
    """Draw a few examples; with few pictures each, two of them share a row."""
    pictures = {"positive": given.positive, **given.steps, "negative": given.negative}
    beside = max(1, COLUMNS // (len(pictures) + 1))
    count = min(ROWS * beside, len(given.labels))
    rows = -(-count // beside)
    title = f"{given.description}\nthe first images of epoch 1; overlay: the first {given.classes} pixels, enlarged"
    figure = make_figure(0.92 * rows + 0.7, title)
    axes = figure.subplots(rows, beside * (len(pictures) + 1), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for example in range(count):
        start = (example % beside) * (len(pictures) + 1)
        row = axes[example // beside, start : start + len(pictures) + 1]
        for axis, (name, images) in zip(row, pictures.items(), strict=False):
            _show(axis, images[example])
            if example < beside:
                axis.set_title(name, fontsize=SMALL)
        _label(row[0], given.labels[example], POSITIVE)
        _label(row[-2], given.negative_labels[example], NEGATIVE)
        _show_overlay(row[-1], given, example)
        if example < beside:
            row[-1].set_title("overlay", fontsize=SMALL)
    return Drawn(
        [figure],
        text=f"{given.description}, {count} examples",
        data={
            "labels": given.labels[:count].tolist(),
            "negative_labels": given.negative_labels[:count].tolist(),
            "steps": list(pictures),
        },
    )


FIGURE = Figure(
    "negatives",
    "Draw how negatives are made: positive images, parents and mask, negatives, and the overlay of their labels.",
    of_data=draw,
)


def _show(axis: Axes, picture: NDArray[Any]) -> None:
    """Show a picture (H, W, C)."""
    grey = picture.shape[2] != 3
    axis.imshow(picture[..., 0] if grey else picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.spines[:].set(visible=True, color=GREY, linewidth=0.6)


def _label(axis: Axes, label: int, color: str) -> None:
    axis.text(
        0.97, 0.93, str(label), transform=axis.transAxes, ha="right", va="top", fontsize=SMALL, color="white",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": "none"},
    )  # fmt: skip


def _show_overlay(axis: Axes, given: NegativeSteps, example: int) -> None:
    """Show the label features of the positive image above those of the negative one."""
    from matplotlib.patches import Rectangle

    for bottom, text, place, images in (
        (0.5, "positive", 0.78, given.positive),
        (0.28, "negative", 0.22, given.negative),
    ):
        # Features are ordered channels first, so a small image may continue the overlay in its next channel.
        strip = images[example].transpose(2, 0, 1).reshape(1, -1)[:, : given.classes]
        extent = (0.0, 1.0, bottom, bottom + 0.22)
        axis.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto", extent=extent)
        axis.text(0.5, place, text, ha="center", va="bottom" if place > 0.5 else "top", fontsize=SMALL - 1, color=GREY)
        frame = Rectangle((0, bottom), 1, 0.22, fill=False, edgecolor=GREY, linewidth=0.8, clip_on=False)
        axis.add_patch(frame)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_box_aspect(1)
