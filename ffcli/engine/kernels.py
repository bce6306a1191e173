"""Whether the kernel of `ffcli.engine.fused` can be used. Imports neither torch nor Triton by itself."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FLOAT32_BYTES = 4

MAX_UNITS = 1 << 16
"""The kernel keeps a row of a layer in registers."""


def is_for_kernel(parameters: Tensor, units: int) -> bool:
    """Return whether the kernel is meant for a layer: one of float32 parameters on a CUDA device, not too wide."""
    return parameters.is_cuda and parameters.element_size() == FLOAT32_BYTES and units <= MAX_UNITS


def fused_for(parameters: Tensor, units: int) -> ModuleType | None:
    """Return `ffcli.engine.fused` for a layer that its kernel is meant for, if it works on the layer's device."""
    return _fused_on(parameters.device) if is_for_kernel(parameters, units) else None


@cache
def _fused_on(device: torch.device) -> ModuleType | None:
    """Try the kernel: without Triton, without a C compiler or on an old device, plain torch does the same work.

    Raises:
        torch.cuda.OutOfMemoryError: if the device has no memory left, which says nothing about the kernel.
    """
    import torch

    try:
        from ffcli.engine import fused

        fused.try_kernel(device)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        return None
    return fused
