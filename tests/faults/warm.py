"""Run `ff` in a process forked from this one, which has imported everything: a start takes a tenth of a second.

The fork is a real process that runs the real command line: it can be killed, limited and made to fail at a system call.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import mmap
import os
import pkgutil
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

Mode = Literal["count", "kill", "half", "EIO", "ENOSPC"]
MODES: tuple[Mode, ...] = ("count", "kill", "half", "EIO", "ENOSPC")
"""In the order of the constants of shim.c."""

MEMORY = 3 << 30
"""Bytes that a command may allocate."""
SECONDS = 60
"""CPU time, and time on the clock, after which a command counts as hanging."""

PATIENCE = 180.0
"""Seconds for commands that share the processors with many others, or start processes that import everything."""

Argument = str | Path | bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """What the shim does at the n-th call that changes a file below the folder of the command (counted from 1)."""

    mode: Mode
    n: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    arguments: tuple[Argument, ...]
    code: int
    """The exit code; negative if a signal ended it."""
    out: str
    err: str
    calls: int
    """Number of calls that the shim counted."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Running:
    """A command that was started."""

    arguments: tuple[Argument, ...]
    pid: int
    output: tuple[int, int]
    counter: mmap.mmap

    def wait(self, seconds: float = SECONDS) -> Done:
        """Wait for its end; raise TimeoutError after killing it if it takes longer."""
        ended = _exits(self.pid, seconds)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        out, err = (_content(descriptor) for descriptor in self.output)
        calls = ctypes.c_long.from_buffer_copy(self.counter).value
        self.counter.close()
        if not ended:
            raise TimeoutError(f"{self.arguments}: still running after {seconds:.0f} s")
        return Done(self.arguments, code, out, err, calls)

    def kill(self, after: float) -> Done:
        """Kill it after some seconds, unless it ends before."""
        if not _exits(self.pid, after):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()


def import_everything() -> None:
    """Import what any command needs, so that a fork does not; the collector of a fork copies none of it."""
    os.environ["COLUMNS"] = "120"
    package = importlib.import_module("ffcli")
    for module in pkgutil.walk_packages(package.__path__, "ffcli."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)
    for name in ("alembic.command", "alembic.config", "rich.console", "rich.progress", "safetensors.numpy", "psutil"):
        importlib.import_module(name)
    gc.freeze()


def compile_shim(folder: Path) -> Path | None:
    """Return the compiled shim; None if there is no C compiler."""
    compiler, library = shutil.which("cc"), folder / "shim.so"
    if compiler is None:
        return None
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def has_shim() -> bool:
    """Return whether the shim is loaded into this process."""
    return hasattr(ctypes.CDLL(None), "faults_arm")


def ff(*arguments: Argument, folder: Path, fault: Fault | None = None, **environment: str) -> Done:
    """Run a command to its end. `folder` contains its database and data, and is its current folder."""
    return start(*arguments, folder=folder, fault=fault, **environment).wait()


def start(*arguments: Argument, folder: Path, fault: Fault | None = None, **environment: str) -> Running:
    """Start a command; see `ff`."""
    counter = mmap.mmap(-1, mmap.PAGESIZE)
    output = (os.memfd_create("out"), os.memfd_create("err"))
    pid = os.fork()
    if pid == 0:
        _become(arguments, folder, fault, counter, output, environment)
    return Running(arguments, pid, output, counter)


def _become(
    arguments: tuple[Argument, ...],
    folder: Path,
    fault: Fault | None,
    counter: mmap.mmap,
    output: tuple[int, int],
    environment: Mapping[str, str],
) -> NoReturn:
    """Turn this fork into the command."""
    try:
        os.setpgid(0, 0)
        for number, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output[0]), (2, output[1])):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m, closefd=False) for n, m in ((0, "r"), (1, "w"), (2, "w")))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FFCLI_", "XDG_"))}
        os.environ.clear()
        os.environ |= kept | {
            "FFCLI_DB": str(folder / "db" / "ff.db"),
            "FFCLI_DATA_DIR": str(folder / "data"),
            "FFCLI_THREADS": "1",
            "FFCLI_DEVICE": "cpu",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
        }
        os.environ |= environment
        os.chdir(folder)
        tempfile.tempdir = None
        sys.argv = ["ff", *(os.fsdecode(argument) for argument in arguments)]
        memory = _address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        from ffcli.cli.main import run

        if fault:
            shim, address = ctypes.CDLL(None), ctypes.addressof(ctypes.c_long.from_buffer(counter))
            under = str(folder).encode()
            shim.faults_arm(under, MODES.index(fault.mode), ctypes.c_long(fault.n), ctypes.c_void_p(address))
        run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    os._exit(99)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _exits(pid: int, seconds: float) -> bool:
    """Return whether the process exits within some seconds."""
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        return bool(poll.poll(max(0.0, seconds) * 1000))
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="backslashreplace")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return whether `condition()` becomes true within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
