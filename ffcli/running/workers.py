"""The interface between a sweep and its workers: submit a task, receive its messages.

`ProcessWorkers` implements it with processes on this machine. Workers only train; they do not open the database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from ffcli.running.messages import Alive, Message, Task, pack, unpack


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a task exited; epochs that it had not sent are lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The worker of a task gives no sign of life; it is still waited for."""

    text: str


SILENT_SECONDS = 60.0
"""Time without a sign of life after which a worker is reported: it was stopped, or the machine is overloaded."""

LOST_SECONDS = 600.0
"""Time without a sign of life after which a worker is killed, and its task is lost."""


class Workers(Protocol):
    """What a sweep needs to train its tasks, which it identifies by name."""

    @property
    def free(self) -> int:
        """Return how many more tasks can start now."""

    def submit(self, name: str, task: Task) -> str:
        """Start a task, and return the name of its worker."""

    def messages(self, seconds: float) -> Iterator[tuple[str, Message | Silent | Lost]]:
        """Yield messages that arrive within `seconds`, with the names of their tasks; may yield none."""

    def finished(self, name: str) -> None:
        """Release the worker of a task that ended."""

    def stop(self, name: str) -> None:
        """Abandon a task; its worker may be killed."""

    def close(self) -> None:
        """Kill all workers."""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    tasks: Connection
    results: Connection
    device: str
    task: str | None = None
    heard: float = 0.0
    """When it last gave a sign of life, by the monotonic clock."""
    reported: bool = False
    """Whether it was reported as silent since then."""

    def end(self) -> None:
        self.tasks.close()
        self.results.close()
        self.process.kill()
        self.process.wait()


class ProcessWorkers:
    """One process per entry of `devices`, started when needed; one that exits or is stopped is replaced."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = list(devices)
        self._workers: list[_Worker] = []

    @property
    def free(self) -> int:
        return len(self._devices) - sum(worker.task is not None for worker in self._workers)

    def submit(self, name: str, task: Task) -> str:
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None:
            idle = _start(self._next_device())
            self._workers.append(idle)
        idle.task, idle.heard, idle.reported = name, time.monotonic(), False
        try:
            idle.tasks.send_bytes(pack(replace(task, device=idle.device)))
        except OSError:
            # It exited while it was idle: `messages` reports the task as lost.
            idle.process.kill()
        return f"{idle.process.pid}"

    def messages(self, seconds: float) -> Iterator[tuple[str, Message | Silent | Lost]]:
        by_connection = {worker.results: worker for worker in self._workers}
        if not by_connection:
            return
        for ready in wait(list(by_connection), timeout=seconds):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            if worker not in self._workers:
                continue
            worker.heard, worker.reported = time.monotonic(), False
            try:
                message: Message | Lost = unpack(ready.recv_bytes())
            except (EOFError, OSError):
                message = Lost(_exit_reason(worker.process))
                self._drop(worker)
            if worker.task is not None and not isinstance(message, Alive):
                yield worker.task, message
        yield from self._silent()

    def _silent(self) -> Iterator[tuple[str, Silent | Lost]]:
        """Report workers without a sign of life once, and kill them in the end."""
        for worker in [worker for worker in self._workers if worker.task is not None]:
            assert worker.task is not None
            silence, pid = time.monotonic() - worker.heard, worker.process.pid
            if silence > LOST_SECONDS:
                self._drop(worker)
                yield worker.task, Lost(f"worker {pid} gave no sign of life for {silence:.0f} s and was killed")
            elif silence > SILENT_SECONDS and not worker.reported:
                worker.reported = True
                text = f"worker {pid} gave no sign of life for {silence:.0f} s; it is killed after {LOST_SECONDS:.0f} s"
                yield worker.task, Silent(text)

    def finished(self, name: str) -> None:
        for worker in self._workers:
            if worker.task == name:
                worker.task = None

    def stop(self, name: str) -> None:
        for worker in [w for w in self._workers if w.task == name]:
            self._drop(worker)

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker)

    def _next_device(self) -> str:
        used = [worker.device for worker in self._workers]
        return next(device for device in self._devices if used.count(device) < self._devices.count(device))

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end()


def _start(device: str) -> _Worker:
    task_read, task_write = os.pipe()
    result_read, result_write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ffcli.running.worker", str(task_read), str(result_write)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(task_read, result_write),
    )
    os.close(task_read)
    os.close(result_write)
    return _Worker(process, Connection(task_write, readable=False), Connection(result_read, writable=False), device)


def _exit_reason(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    code = process.wait()
    return (
        f"worker {process.pid} was killed by signal {-code}" if code < 0 else f"worker {process.pid} exited with {code}"
    )
