"""Which device a run is for, asked without torch where that is possible."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ffcli.config import Device, Precision
from ffcli.errors import BadOption

if TYPE_CHECKING:
    import torch


def choose_device(asked: str) -> str:
    """`cpu`, `cuda` or `cuda:N` for what was asked (`auto`: CUDA where there is a device, else the CPU).

    Loads torch only for `auto` on a machine with NVIDIA's driver. Raises BadOption for another name.
    """
    if asked == "auto":
        return "cuda" if _has_driver() and cuda_devices() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", asked):
        raise BadOption(f"--device {asked} is unknown: there are auto, cpu, cuda and cuda:N")
    return asked


def device_kind(device: str) -> Device:
    """What enters a run's key: the kind, not the index."""
    return "cpu" if device == "cpu" else "cuda"


def require_device(device: str) -> None:
    """Raises BadOption where the device is not there. Loads torch for a CUDA device only."""
    if device != "cpu":
        there, index = cuda_devices(), int(device.partition(":")[2] or 0)
        if index >= there:
            found = f"only {there} CUDA device{'s' * (there != 1)}" if there else "no CUDA device"
            raise BadOption(f"--device {device}: there is {found} here: take --device cpu or auto")


def check_device(device: str) -> torch.device:
    """The device, if it is there. Raises BadOption if not."""
    import torch

    require_device(device)
    return torch.device(device)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises BadOption where the device has no such products."""
    import torch

    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise BadOption(f"--precision tf32: {torch.cuda.get_device_name(device)} has no such products: give float32")


def cuda_devices() -> int:
    """How many CUDA devices there are; loads torch."""
    import torch

    return torch.cuda.device_count()


def _has_driver() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists() or Path("/dev/dxg").exists()
