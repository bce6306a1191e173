"""`loss_gradient` for CUDA devices in float32: everything between the matrix products in one kernel.

A network of the paper's size keeps a GPU busy for a few microseconds per operation, about as long as starting it takes.
So the number of operations decides: one update takes 9 here (bf16; 7 in float32) instead of 25.

The kernel is written in Triton, which torch brings along on Linux. One program of it handles one row of the batch and
sums over the units in one order, so results have the same bits every time. `ffcli.engine.kernels` decides whether it
is used.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ffcli.engine.goodness import LayerInput, Rows, backward, linear


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

    Arguments and result are those of `ffcli.engine.goodness.loss_gradient`, in float32.
    """
    if isinstance(inputs, Rows) and inputs.x.dtype != h.dtype:
        z = torch.mm(inputs.x, weight.to(inputs.x.dtype).t())
        loss = _losses_and_dz(z, bias, sign, threshold, divisor, dz=h, rounded_dz=z)
        weight_gradient.copy_(torch.mm(z.t(), inputs.x))
        torch.sum(h, 0, out=bias_gradient)
    else:
        z = linear(inputs, weight, out=h)
        loss = _losses_and_dz(z, bias, sign, threshold, divisor, dz=h, rounded_dz=h)
        backward(inputs, h, weight_gradient=weight_gradient, bias_gradient=bias_gradient)
    return loss


def try_kernel(device: torch.device) -> None:
    """Compile and run the kernel once. Raises what Triton raises if that fails."""
    z = torch.zeros(2, 3, device=device)
    _losses_and_dz(z, z[0], z[:, 0], 1.5, 3, dz=z, rounded_dz=z)


def _losses_and_dz(
    z: Tensor, bias: Tensor, sign: Tensor, threshold: float, divisor: int, *, dz: Tensor, rounded_dz: Tensor
) -> Tensor:
    """Return the losses (rows,) for z without its bias (rows, units), and write dL/dz to both buffers (rows, units).

    `rounded_dz` may be of another type; it and `dz` may be `z`.
    """
    rows, units = z.shape
    loss = dz.new_empty(rows)
    block = triton.next_power_of_2(units)
    with torch.cuda.device_of(z):  # type: ignore[no-untyped-call]
        _row[(rows,)](
            z, bias, sign, loss, dz, rounded_dz, threshold, rows, units, divisor, sign.stride(0),
            BLOCK=block, num_warps=max(1, min(8, block // 128)),
        )  # fmt: skip
    return loss


@triton.jit  # type: ignore[untyped-decorator]
def _row(  # type: ignore[no-untyped-def]
    z_rows, bias, signs, losses, dz_rows, rounded_rows, threshold, rows, units, divisor, sign_stride,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute one row: the functions of `ffcli.engine.goodness` from h to dL/dz, in the same order."""
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < units
    at = row.to(tl.int64) * units + column
    z = tl.load(z_rows + at, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + column, mask=inside, other=0.0)
    h = tl.where(z <= 0, 0.0, z)  # unlike a maximum, this keeps NaN
    g = tl.sum(h * h, 0) / divisor  # h is 0 outside

    sign = tl.load(signs + row * sign_stride)
    a = sign * (threshold - g)
    tl.store(losses + row, tl.where(a <= 0, 0.0, a) + tl.log(1 + tl.exp(-tl.abs(a))))

    dg = -sign / (1 + tl.exp(-a)) / rows
    dz = dg * (2.0 / divisor) * h
    tl.store(dz_rows + at, dz, mask=inside)
    tl.store(rounded_rows + at, dz, mask=inside)
