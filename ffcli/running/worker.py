"""A worker process of a sweep: trains the tasks that it receives and sends back every epoch. It opens no database.

    python -m ffcli.running.worker READ_FD WRITE_FD

It exits when its driver exits, which closes the pipe. It ignores Ctrl-C, which the driver handles.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ffcli.errors import kind_of
from ffcli.running.messages import Alive, Began, EpochDone, Failed, Finished, Message, Task, pack, unpack

DISCONNECTED = (EOFError, BrokenPipeError, ConnectionResetError)

ALIVE_SECONDS = 5.0
"""Time between two signs of life."""


def main(read: int, write: int) -> None:
    """Train task after task until the driver closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, results, sending = Connection(read, writable=False), Connection(write, readable=False), threading.Lock()

    def send(message: Message) -> None:
        with sending:
            results.send_bytes(pack(message))

    def give_signs_of_life() -> None:
        with suppress(OSError):
            while True:
                send(Alive())
                time.sleep(ALIVE_SECONDS)

    threading.Thread(target=give_signs_of_life, daemon=True).start()
    try:
        while True:
            task = unpack(tasks.recv_bytes())
            assert isinstance(task, Task)
            _train(task, send)
    except DISCONNECTED:
        # Exit without waiting for torch's threads.
        os._exit(0)


def _train(task: Task, send: Callable[[Message], None]) -> None:
    try:
        from ffcli.running.session import load_data, make_stretch

        folder = Path(task.data_folder)
        data = load_data(task.config, device=task.device, threads=task.threads, data_folder=folder)
        stretch = make_stretch(task.config, data, task.arrays)
        send(Began(stretch.provenance, stretch.notice))
        for metrics in stretch.epochs(eval_every=task.eval_every):
            send(EpochDone(metrics, stretch.arrays()))
        send(Finished(stretch.arrays()))
    except DISCONNECTED:
        raise
    except Exception as error:
        send(Failed(str(error) or type(error).__name__, kind_of(error)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
