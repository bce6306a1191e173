"""Goodness of a layer, its loss, and the gradient of the loss, written by hand.

A layer of the Forward-Forward algorithm (Hinton, arXiv 2212.13345; the loss and its constants are those of
arXiv 2310.18647) computes, for a batch:

    forward                                             function
    x = v / (|v| + 1e-4)                                normalise       direction of the input: hides the goodness
    z = x W' + b,  h = max(z, 0)                        activity          of the layer below
    g = |h|^2 / d                                       goodness        d: see `ffcli.engine.objectives`
    L = mean_i softplus(s_i (theta - g_i))              losses          s = 1: push g above theta; s = -1: below

    gradient, from the loss back to the parameters
    dL/dg_i = -s_i sigma(s_i (theta - g_i)) / rows      losses_backward
    dL/dz   = dL/dg (2 / d) h                           goodness_backward
    dL/dW   = (dL/dz)' x,  dL/db = sum_i dL/dz_i        backward

softplus(a) = log(1 + exp(a)) = -log sigma(-a), and sigma is the logistic function. In dL/dz the derivative of the ReLU
needs no factor of its own, because h is 0 wherever it is 0. No gradient flows to v: each layer learns by itself.

Shapes: v, x (rows, inputs); W (units, inputs); b (units,); z, h (rows, units); g, s (rows,).
Large results are written to buffers that the caller passes as `out`. Autograd records nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

EPSILON = 1e-4
"""Added to the norm of a layer's input."""


class Rows(NamedTuple):
    """A layer's normalised input `x` (rows, inputs). Matrix products are computed in its type."""

    x: Tensor


class SharedImages(NamedTuple):
    """The first layer's input if positive and negative data are the same images with different labels.

    Both halves of the batch agree in all but the label features, so one product of the images serves both:
    row i of the positive half is images[i] + labels[i], row i of the negative half is images[i] + labels[rows/2 + i].
    """

    images: Tensor  # (rows/2, inputs), normalised, label features 0; matrix products are computed in its type
    labels: Tensor  # (rows, classes), normalised; one feature per row is not 0


LayerInput = Rows | SharedImages


def loss_gradient(
    inputs: LayerInput,
    weight: Tensor,
    bias: Tensor,
    sign: Tensor,
    *,
    threshold: float,
    divisor: int,
    h: Tensor,
    weight_gradient: Tensor,
    bias_gradient: Tensor,
) -> Tensor:
    """Compute the losses of a batch and the gradient of their mean.

    Args:
        inputs: normalised input.
        weight: W (units, inputs).
        bias: b (units,).
        sign: s (rows,), 1 or -1.
        threshold: theta.
        divisor: d, divisor of |h|^2.
        h: buffer (rows, units); its content is lost.
        weight_gradient: buffer for dL/dW (units, inputs).
        bias_gradient: buffer for dL/db (units,).

    Returns:
        The loss of each row (rows,).
    """
    activity(inputs, weight, bias, out=h)
    g = goodness(h, divisor)
    loss = losses(g, sign, threshold)

    dg = losses_backward(g, sign, threshold)
    dz = goodness_backward(h, dg, divisor)
    backward(inputs, dz, weight_gradient=weight_gradient, bias_gradient=bias_gradient)
    return loss


def normalise(v: Tensor, *, out: Tensor) -> Tensor:
    """Return x = v / (|v| + 1e-4), row by row."""
    norm = torch.linalg.vector_norm(v, dim=1, keepdim=True).add_(EPSILON)
    return torch.div(v, norm, out=out)


def activity(inputs: LayerInput, weight: Tensor, bias: Tensor, *, out: Tensor) -> Tensor:
    """Return h = max(x W' + b, 0), (rows, units)."""
    return linear(inputs, weight, out=out).add_(bias).relu_()


def linear(inputs: LayerInput, weight: Tensor, *, out: Tensor) -> Tensor:
    """Return x W', (rows, units)."""
    match inputs:
        case Rows(x):
            product(x, weight.t(), precision=x.dtype, out=out)
        case SharedImages(images, labels):
            half, classes = len(images), labels.shape[1]
            torch.mm(labels, weight[:, :classes].t(), out=out)
            shared = product(images, weight.t(), precision=images.dtype, out=torch.empty_like(out[:half]))
            out[:half] += shared
            out[half:] += shared
    return out


def goodness(h: Tensor, divisor: int) -> Tensor:
    """Return g = |h|^2 / d, (rows,)."""
    norm: Tensor = torch.linalg.vector_norm(h, dim=1)
    return norm.square_().div_(divisor)


def losses(g: Tensor, sign: Tensor, threshold: float) -> Tensor:
    """Return softplus(s (theta - g)), (rows,). Computed by logsigmoid, which is accurate for any goodness."""
    return logsigmoid(sign * (g - threshold)).neg_()


def losses_backward(g: Tensor, sign: Tensor, threshold: float) -> Tensor:
    """Return dL/dg = -s sigma(s (theta - g)) / rows, (rows,)."""
    return torch.sigmoid_(sign * (threshold - g)).mul_(sign).div_(-len(g))


def goodness_backward(h: Tensor, dg: Tensor, divisor: int) -> Tensor:
    """Return dL/dz = dL/dg (2 / d) h, (rows, units), written over h."""
    return h.mul_(dg.mul(2 / divisor).unsqueeze(1))


def backward(inputs: LayerInput, dz: Tensor, *, weight_gradient: Tensor, bias_gradient: Tensor) -> None:
    """Write dL/dW = (dL/dz)' x and dL/db = sum_i dL/dz_i to the buffers."""
    match inputs:
        case Rows(x):
            product(dz.t(), x, precision=x.dtype, out=weight_gradient)
        case SharedImages(images, labels):
            half, classes = len(images), labels.shape[1]
            both = dz[:half] + dz[half:]
            product(both.t(), images, precision=images.dtype, out=weight_gradient)
            weight_gradient[:, :classes] = dz.t() @ labels
    torch.sum(dz, 0, out=bias_gradient)


def product(a: Tensor, b: Tensor, *, precision: torch.dtype, out: Tensor) -> Tensor:
    """Return a b. If `precision` is not the type of `out`, operands and result are first rounded to it."""
    if precision == out.dtype:
        return torch.mm(a, b, out=out)
    return out.copy_(torch.mm(a.to(precision), b.to(precision)))
