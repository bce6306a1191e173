"""The figure of weights: the receptive fields of the first layer's units, as images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import GREY, SMALL, make_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 8
"""Fields in a row and in a column at most."""
GAP = 2
"""Pixels between fields."""
PERCENTILE = 99.5
"""Of the absolute weights; the colours end there, so that a few large weights do not make the others look alike."""


def draw(given: OneRun) -> Drawn:
    """Draw the weights of units evenly spaced by the size of their weights.

    Raises:
        BadOption: if no weights are stored.
    """
    import numpy as np

    arrays, epoch = given.weights()
    weight, shape, labels = arrays["layers.0.weight"], given.image_shape(), given.run.config.data.classes
    norms = np.linalg.norm(weight, axis=1)
    count = min(SIDE * SIDE, len(weight))
    units = np.argsort(-norms, kind="stable")[np.linspace(0, len(weight) - 1, count).round().astype(int)]
    pictures = weight[units].reshape(count, *shape).transpose(0, 2, 3, 1)
    limit = float(np.percentile(np.abs(weight[units][:, labels:]), PERCENTILE)) or 1.0

    title = (
        f"{given.title(epoch)}\nfirst layer: {count} of {len(weight)} units, from the largest weights to the smallest"
    )
    figure = make_figure(5.9, title)
    axis = figure.subplots()
    mosaic = _mosaic(pictures)
    if shape[0] == 1:
        image = axis.imshow(mosaic[..., 0], cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest")
        bar = figure.colorbar(image, ax=axis, extend="both", shrink=0.6, aspect=25)
        bar.set_label("weight")
    else:
        axis.imshow(np.nan_to_num(mosaic / (2 * limit) + 0.5, nan=1).clip(0, 1), interpolation="nearest")
    axis.set_axis_off()
    axis.text(
        0.5, -0.02, f"The first {labels} pixels of a field are the weights of the labels.", ha="center", va="top",
        transform=axis.transAxes, fontsize=SMALL, color=GREY,
    )  # fmt: skip
    return Drawn(
        [figure],
        text=f"{count} of {len(weight)} units of the first layer of run {given.short_id}, epoch {epoch}",
        data={
            "run": given.run.id,
            "epoch": epoch,
            "units": [{"unit": int(unit) + 1, "norm": float(norms[unit])} for unit in units],
        },
    )


FIGURE = Figure("weights", "Draw what the units of the first layer respond to: their weights as images.", of_run=draw)


def _mosaic(pictures: NDArray[Any]) -> NDArray[Any]:
    """Return pictures (N, H, W, C) side by side in rows, with gaps of NaN (height, width, C)."""
    import numpy as np

    count, height, width, channels = pictures.shape
    columns = min(SIDE, count)
    rows = -(-count // columns)
    mosaic = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), np.nan)
    for place, picture in enumerate(pictures):
        top, left = (height + GAP) * (place // columns), (width + GAP) * (place % columns)
        mosaic[top : top + height, left : left + width] = picture
    return mosaic
