"""The figure of goodness: how the goodness of the test images is distributed in each layer of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import (
    BLACK,
    GREY,
    NEGATIVE,
    POSITIVE,
    SMALL,
    labelled,
    legend_below,
    make_figure,
    pages_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page
    from numpy.typing import NDArray

    from ffcli.records import GoodnessSamples

BINS = 50
PERCENTILE = 99.8
"""Of the goodness of all kinds; larger values are counted in the last bin."""

KINDS = {
    "true": ("true label", POSITIVE, "-"),
    "wrong": ("best wrong label", BLACK, (0, (4, 1.5))),
    "negatives": ("negatives", NEGATIVE, (0, (1.5, 1))),
}
"""Label, colour and dashes of each kind; the first is filled."""


def draw(given: OneRun) -> Drawn:
    """Draw a distribution for each layer.

    Raises:
        BadOption: if no weights are stored.
    """
    _, epoch = given.weights()
    samples, threshold = given.goodness(), given.run.config.threshold
    title = (
        f"{given.title(epoch)}\n{samples.true.shape[1]:,} test images, accuracy {samples.accuracy:.1f} %; negatives:"
        f" {given.run.config.negatives}"
    )
    layers = range(1, len(samples.true) + 1)
    return Drawn(
        [_page(samples, page, threshold, title) for page in pages_of(layers)],
        text=f"goodness of {samples.true.shape[1]:,} test images in run {given.short_id}, epoch {epoch}",
        data={
            "run": given.run.id,
            "epoch": epoch,
            "threshold": threshold,
            "accuracy": samples.accuracy,
            "layers": [
                {
                    kind: {"mean": float(values.mean()), "above_threshold": float((values > threshold).mean())}
                    for kind, values in _of_layer(samples, layer).items()
                }
                for layer in layers
            ],
        },
    )


FIGURE = Figure(
    "goodness",
    "Draw the distribution of goodness in each layer: with the true label, the best wrong label, and of negatives.",
    of_run=draw,
)


def _page(samples: GoodnessSamples, layers: Sequence[int], threshold: float, title: str) -> Page:
    figure = make_figure(1.5 * len(layers) + 1.5, title)
    axes = figure.subplots(len(layers), 1, squeeze=False)[:, 0]
    for axis, layer in zip(axes, layers, strict=True):
        values = _of_layer(samples, layer)
        _draw_layer(axis, values, threshold)
        shares = ", ".join(f"{kind} {(found > threshold).mean():.0%}" for kind, found in values.items())
        axis.set_title(f"layer {layer}: {shares} above the threshold", loc="left", fontsize=SMALL, pad=3)
    axes[-1].set_xlabel("goodness")
    figure.supylabel("share of the images (%)", fontsize=SMALL)
    legend_below(figure, labelled(axes[:1]), columns=2)
    return figure


def _draw_layer(axis: Axes, values: dict[str, NDArray[Any]], threshold: float) -> None:
    """Draw the histograms of one layer, with bins of equal width on the axis of roots."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    most = 1.05 * max(1.4 * threshold, *(float(np.percentile(found, PERCENTILE)) for found in values.values()))
    edges = np.linspace(0, np.sqrt(most), BINS + 1) ** 2
    for kind, found in values.items():
        label, color, dashes = KINDS[kind]
        heights = 100 * np.histogram(np.minimum(found, most), edges)[0] / len(found)
        if kind == "true":
            axis.stairs(heights, edges, fill=True, color=color, alpha=0.3)
        axis.stairs(heights, edges, color=color, linestyle=dashes, linewidth=1.4, label=label)
    axis.axvline(threshold, color=GREY, linestyle="-.", linewidth=1, label="threshold")
    axis.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axis.set_xlim(0, most)
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_locator(MaxNLocator(3))


def _of_layer(samples: GoodnessSamples, layer: int) -> dict[str, NDArray[Any]]:
    return {kind: getattr(samples, kind)[layer - 1] for kind in KINDS}
