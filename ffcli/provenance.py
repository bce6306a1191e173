"""Where a stretch of a run is trained: versions, device, threads, host and revision."""

from __future__ import annotations

import platform
import socket
import subprocess
from functools import cache
from pathlib import Path

import torch

from ffcli import __version__
from ffcli.records import Provenance


def provenance(device: torch.device, from_epoch: int) -> Provenance:
    """Of this process, as it is now."""
    return Provenance(
        from_epoch=from_epoch,
        ffcli=__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        device=processor() if device.type == "cpu" else torch.cuda.get_device_name(device),
        threads=torch.get_num_threads(),
        host=socket.gethostname(),
        revision=_revision(),
    )


@cache
def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _revision() -> str | None:
    """Git revision of the checkout that this program runs from; None where it is installed."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
