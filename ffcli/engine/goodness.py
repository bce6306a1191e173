"""Goodness of a layer, its loss, and the gradient by hand: each forward step with its backward beside it.

A layer of the Forward-Forward algorithm (Hinton, arXiv 2212.13345; the protocol is that of arXiv 2310.18647) computes

    x = v / (|v| + 1e-4)                     the input's direction, so that goodness cannot be passed on
    z = x W' + b,   h = max(z, 0)            activity
    g = |h|^2 / units                        goodness: mean of the squared activity
    L = mean_i -log sigma(s_i (g_i - theta)) s = +1 for positive data (goodness above theta), -1 for negative

where -log sigma(s (g - theta)) = softplus(s (theta - g)). Backwards:

    dL/dg_i = -s_i sigma(s_i (theta - g_i)) / rows
    dL/dz   = dL/dg (2 / units) h            h is 0 where the ReLU is, so its gradient needs no mask
    dL/dW   = (dL/dz)' x,   dL/db = sum_i dL/dz_i

Shapes: v, x (rows, inputs); W (units, inputs); b (units,); z, h (rows, units); g, s (rows,).
Large results go to buffers of the caller's (`out`); nothing here is recorded by autograd.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

EPSILON = 1e-4


class Rows(NamedTuple):
    """A layer's input as it stands: `x` (rows, inputs), normalised. Its type is that of the matrix products."""

    x: Tensor


class SharedImages(NamedTuple):
    """The first layer's input when positive and negative data are the same images under two labels.

    Both halves share all but the label features: with the images' own label features at 0,
    row i of the positive half is images[i] + labels[i] and of the negative half images[i] + labels[rows/2 + i],
    so one image product serves both.
    """

    images: Tensor  # (rows/2, inputs), normalised, label features 0; its type is that of the matrix products
    labels: Tensor  # (rows, classes), one label feature a row, normalised alike


LayerInput = Rows | SharedImages


def loss_gradient(
    inputs: LayerInput,
    weight: Tensor,
    bias: Tensor,
    sign: Tensor,
    threshold: float,
    h: Tensor,
    weight_gradient: Tensor,
    bias_gradient: Tensor,
) -> Tensor:
    """Forward and back: dL/dW and dL/db go to the buffers given, `h` (rows, units) is scratch.

    `sign` (rows,) is +1 for positive and -1 for negative rows. Returns the losses (rows,).
    """
    activity(inputs, weight, bias, out=h)
    g = goodness(h)
    loss = losses(g, sign, threshold)

    dg = losses_backward(g, sign, threshold)
    dz = goodness_backward(h, dg)
    backward(inputs, dz, weight_gradient=weight_gradient, bias_gradient=bias_gradient)
    return loss


def product(a: Tensor, b: Tensor, *, precision: torch.dtype, out: Tensor) -> Tensor:
    """a b, its operands and result rounded to `precision` where that is less than `out` has."""
    if precision == out.dtype:
        return torch.mm(a, b, out=out)
    return out.copy_(torch.mm(a.to(precision), b.to(precision)))


def normalise(v: Tensor, *, out: Tensor) -> Tensor:
    """v / (|v| + 1e-4) by row."""
    norm = torch.linalg.vector_norm(v, dim=1, keepdim=True).add_(EPSILON)
    return torch.div(v, norm, out=out)


def activity(inputs: LayerInput, weight: Tensor, bias: Tensor, *, out: Tensor) -> Tensor:
    """h = max(x W' + b, 0)."""
    match inputs:
        case Rows(x):
            product(x, weight.t(), precision=x.dtype, out=out)
        case SharedImages(images, labels):
            half, classes = len(images), labels.shape[1]
            torch.mm(labels, weight[:, :classes].t(), out=out)
            shared = product(images, weight.t(), precision=images.dtype, out=torch.empty_like(out[:half]))
            out[:half] += shared
            out[half:] += shared
    return out.add_(bias).relu_()


def backward(inputs: LayerInput, dz: Tensor, *, weight_gradient: Tensor, bias_gradient: Tensor) -> None:
    """dL/dW = (dL/dz)' x and dL/db = sum_i dL/dz_i, of `activity`."""
    match inputs:
        case Rows(x):
            product(dz.t(), x, precision=x.dtype, out=weight_gradient)
        case SharedImages(images, labels):
            half, classes = len(images), labels.shape[1]
            both = dz[:half] + dz[half:]
            product(both.t(), images, precision=images.dtype, out=weight_gradient)
            weight_gradient[:, :classes] = dz.t() @ labels
    torch.sum(dz, 0, out=bias_gradient)


def goodness(h: Tensor) -> Tensor:
    """g = |h|^2 / units, by row."""
    norm: Tensor = torch.linalg.vector_norm(h, dim=1)
    return norm.square_().div_(h.shape[1])


def goodness_backward(h: Tensor, dg: Tensor) -> Tensor:
    """dL/dz = dL/dg (2 / units) h, in place of h."""
    return h.mul_(dg.mul(2 / h.shape[1]).unsqueeze(1))


def losses(g: Tensor, sign: Tensor, threshold: float) -> Tensor:
    """-log sigma(s (g - theta)), by row: exact for any goodness."""
    return logsigmoid(sign * (g - threshold)).neg_()


def losses_backward(g: Tensor, sign: Tensor, threshold: float) -> Tensor:
    """dL/dg = -s sigma(s (theta - g)) / rows, of the mean of `losses`."""
    return torch.sigmoid_(sign * (threshold - g)).mul_(sign).div_(-len(g))
