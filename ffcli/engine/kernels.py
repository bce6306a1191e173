"""Whether the kernel of `ffcli.engine.fused` can be used. Imports neither torch nor Triton by itself."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FLOAT32_BYTES = 4


def fused_for(parameters: Tensor) -> ModuleType | None:
    """Return `ffcli.engine.fused` for float32 parameters on a CUDA device where its kernel works, otherwise None."""
    if not parameters.is_cuda or parameters.element_size() != FLOAT32_BYTES:
        return None
    return _fused_on(parameters.device)


@cache
def _fused_on(device: torch.device) -> ModuleType | None:
    """Try the kernel: without Triton, without a C compiler or on an old device, plain torch does the same work."""
    try:
        from ffcli.engine import fused

        fused.try_kernel(device)
    except Exception:
        return None
    return fused
