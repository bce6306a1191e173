"""A sweep's worker: a process that trains what it is sent and hands back every epoch. It opens no database.

    python -m ffcli.running.worker READ_FD WRITE_FD

It ends when its driver does: the pipe closes. Ctrl-C is the driver's to answer.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from ffcli.errors import Diverged
from ffcli.running.messages import Began, EpochDone, Failed, Finished, Message, Task, pack, unpack

GONE = (EOFError, BrokenPipeError, ConnectionResetError)


def main(read: int, write: int) -> None:
    """Train task after task until the driver closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, answers = Connection(read, writable=False), Connection(write, readable=False)
    try:
        while True:
            task = unpack(tasks.recv_bytes())
            assert isinstance(task, Task)
            _train(task, answers)
    except GONE:
        # There is nobody left to train for; torch's threads need not be waited for.
        os._exit(0)


def _train(task: Task, answers: Connection) -> None:
    def say(message: Message) -> None:
        answers.send_bytes(pack(message))

    try:
        from ffcli.running.session import load_data, make_stretch

        folder = Path(task.data_folder)
        data = load_data(task.config, device=task.device, threads=task.threads, data_folder=folder)
        stretch = make_stretch(task.config, data, task.arrays)
        say(Began(stretch.provenance, stretch.notice))
        for metrics in stretch.epochs(eval_every=task.eval_every):
            say(EpochDone(metrics, stretch.arrays()))
        say(Finished(stretch.arrays()))
    except GONE:
        raise
    except Exception as error:
        say(Failed(str(error) or type(error).__name__, isinstance(error, Diverged)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
