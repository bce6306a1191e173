"""The figure of weights: the receptive fields of the first layer's units, as images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffcli.plots import Drawn, Figure, OneRun
from ffcli.plots.style import WIDTH, make_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 8
"""Fields in a row and in a column at most."""
GAP = 2
"""Pixels between fields."""
PERCENTILE = 99.5
"""Of a unit's absolute weights, where its colours end: a few large weights do not make the others look alike."""
COLOURS = "cividis"
"""Dark to light, so that signs differ in grey, too."""


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
    scales = np.percentile(np.abs(weight[units][:, labels:]), PERCENTILE, axis=1)
    pictures = pictures / np.where(scales > 0, scales, 1)[:, None, None, None]

    grey = "" if shape[0] == 1 else "; grey is 0"
    which = f"{count} of {len(weight)} units of layer 1, from the largest weights to the smallest"
    side = f"each scaled by itself; its first {labels} pixels are the weights of the labels{grey}"
    rows = -(-count // SIDE)
    figure = make_figure(WIDTH * rows / SIDE + 1.15, f"{given.title(epoch)}\n{which}\n{side}")
    axis = figure.subplots()
    axis.set_axis_off()
    mosaic = _mosaic(pictures)
    if shape[0] == 1:
        image = axis.imshow(mosaic[..., 0], cmap=COLOURS, vmin=-1, vmax=1, interpolation="nearest")
        bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.5, aspect=25, pad=0.02)
        bar.set_ticks([-1, 0, 1], labels=["negative", "0", "positive"])
    else:
        axis.imshow(np.nan_to_num(mosaic / 2 + 0.5, nan=1).clip(0, 1), interpolation="nearest")
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
