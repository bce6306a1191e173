"""Facts about this machine: cores, devices, versions, and how the processor computes.

torch is imported inside the functions that need it, so that commands which only read the database start quickly.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ffcli import __version__
from ffcli.benchmark import Machine
from ffcli.config import Device
from ffcli.errors import BadOption
from ffcli.records import Provenance
from ffcli.settings import Precision
from ffcli.text import counted

if TYPE_CHECKING:
    import torch

BF16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
"""Names of the instruction sets that multiply bfloat16 numbers, by their flag in /proc/cpuinfo."""


INSTRUCTION_SETS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
"""Names of the instruction sets that speed up matrix products, by their flag in /proc/cpuinfo."""


COMPILERS = ("gcc", "clang")
"""C compilers that Triton looks for, unless CC names one."""


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(asked: str) -> str:
    """Return `cpu`, `cuda` or `cuda:N` for the value of `--device`.

    `auto` is CUDA if there is a CUDA device, otherwise the CPU. torch is imported only for `auto` on a machine with
    an NVIDIA driver.

    Raises:
        BadOption: for any other name.
    """
    if asked == "auto":
        return "cuda" if has_driver() and cuda_devices() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", asked):
        raise BadOption(f"--device {asked} is unknown: there are auto, cpu, cuda and cuda:N")
    return asked


def device_kind(device: str) -> Device:
    """Return the part of a device's name that enters a run's key: `cpu` or `cuda`, without the index."""
    return "cpu" if device == "cpu" else "cuda"


def require_device(device: str) -> None:
    """Check that the device exists. Imports torch for CUDA devices only.

    Raises:
        BadOption: if there is no such device.
    """
    if device != "cpu":
        present, index = cuda_devices(), int(device.partition(":")[2] or 0)
        if index >= present:
            found = f"only {counted(present, 'CUDA device')}" if present else "no CUDA device"
            raise BadOption(f"--device {device}: there is {found} here: use --device cpu or auto")


def torch_device(device: str) -> torch.device:
    """Return the torch device of this name.

    Raises:
        BadOption: if there is no such device.
    """
    import torch

    require_device(device)
    return torch.device(device)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Check that the device has matrix products of this precision.

    Raises:
        BadOption: if it has not.
    """
    import torch

    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise BadOption(f"--precision tf32: {torch.cuda.get_device_name(device)} does not support it: use float32")


def cuda_devices() -> int:
    """Return the number of CUDA devices. Imports torch."""
    import torch

    return torch.cuda.device_count()


def set_numerics(threads: int | None = None, *, tf32: bool = False) -> None:
    """Set how this process computes: denormal numbers, threads, TF32.

    Denormal numbers are flushed to zero. The first moment of a dead unit decays by a tenth with each Adam step until
    it is denormal, and a step on denormal numbers takes up to twenty times as long. Call this before the first
    computation, because torch's threads inherit the flush mode from the thread that starts them.

    Args:
        threads: number of threads for matrix products; None keeps torch's default.
        tf32: whether CUDA devices multiply float32 numbers with 11 significant bits.
    """
    import torch

    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    if threads is not None:
        torch.set_num_threads(threads)


def this_machine(*, threads: int | None = None, quick: bool = False) -> Machine:
    """Return the description of this machine that a benchmark stores.

    Args:
        threads: the number of threads that the benchmark uses; None for torch's default.
        quick: whether it measures a tiny network.
    """
    import torch

    here = provenance(torch.device("cpu"), from_epoch=0)
    return Machine(
        host=here.host,
        processor=here.device,
        cores=cores(),
        threads=threads or here.threads,
        bf16=bf16_instructions(),
        torch=here.torch,
        python=here.python,
        ffcli=here.ffcli,
        revision=here.revision,
        quick=quick,
    )


def provenance(device: torch.device, from_epoch: int) -> Provenance:
    """Return where a run is trained from `from_epoch` on: versions, device, threads, host and git revision."""
    import torch

    return Provenance(
        from_epoch=from_epoch,
        ffcli=__version__,
        torch=str(torch.__version__),  # a class of torch otherwise, which whoever reads it would have to import
        python=platform.python_version(),
        device=processor() if device.type == "cpu" else torch.cuda.get_device_name(device),
        threads=torch.get_num_threads(),
        host=socket.gethostname(),
        revision=_revision(),
    )


@cache
def processor() -> str:
    """Return the name of the processor as the operating system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def bf16_instructions() -> str | None:
    """Return the name of the processor's instructions for bfloat16 products, or None if it has none."""
    flags = _processor_flags()
    return next((name for flag, name in BF16_FLAGS.items() if flag in flags), None)


def instruction_sets() -> list[str]:
    """Return the processor's instruction sets for matrix products; empty where the system does not show them."""
    flags = _processor_flags()
    return [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]


def _processor_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How torch computes on this processor."""

    threads: int
    instructions: str
    """The largest instruction set that torch uses, such as AVX512."""
    mkldnn: bool
    """Whether torch has oneDNN, which computes its matrix products of bfloat16 numbers."""
    memory: tuple[int, int]
    """Bytes in all, and bytes that are available."""


def capabilities() -> Capabilities:
    """Return how torch computes here. Imports torch."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    return Capabilities(
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        mkldnn=torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        memory=(memory.total, memory.available),
    )


def cuda_names() -> list[str]:
    """Return the names of the CUDA devices. Imports torch."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(cuda_devices())]


def gpu_models() -> str | None:
    """Return the models of the NVIDIA GPUs without importing torch; None if the driver does not tell."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = (re.search(r"^Model:\s*(.+)$", file.read_text(), re.MULTILINE) for file in files)
    return ", ".join(sorted(found[1].strip() for found in models if found)) or None


def missing_for_kernels() -> Literal["Triton", "a C compiler"] | None:
    """Return what is missing to compile the kernels for CUDA devices, or None."""
    if not find_spec("triton"):
        return "Triton"
    return None if os.environ.get("CC") or any(map(shutil.which, COMPILERS)) else "a C compiler"


@cache
def _revision() -> str | None:
    """Return the git revision of the checkout that contains this package, or None for an installed package."""
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


def has_driver() -> bool:
    """Return whether there is an NVIDIA driver."""
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists() or Path("/dev/dxg").exists()
