"""The confusion matrix of a trained network, drawn for `ff evaluate --plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcli.plots.style import BLACK, SMALL, make_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MAX_WRITTEN = 20
"""Number of classes up to which the numbers are written into the matrix."""


def draw(confusion: NDArray[Any], title: str, file: Path) -> None:
    """Draw a confusion matrix. Shades are shares of each true label's images; numbers are images.

    Args:
        confusion: number of images by true and by predicted label (K, K).
        title: title of the figure.
        file: where to draw it (.svg, .png, .pdf).
    """
    import numpy as np

    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    with styled():
        _figure(confusion, shares, title).savefig(file)


def _figure(confusion: NDArray[Any], shares: NDArray[Any], title: str) -> Figure:
    import numpy as np

    classes = len(confusion)
    figure = make_figure(4.9, title)
    axis = figure.add_subplot()
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="predicted label", ylabel="true label")
    if classes <= MAX_WRITTEN:
        axis.set_xticks(range(classes))
        axis.set_yticks(range(classes))
        for (true, predicted), count in np.ndenumerate(confusion):
            if count:
                colour = "white" if shares[true, predicted] > 0.6 else BLACK
                axis.text(predicted, true, str(count), ha="center", va="center", fontsize=0.8 * SMALL, color=colour)
    figure.colorbar(shown, label="share of the true label's images", shrink=0.8)
    return figure
