"""Live display of a training run, with a real pseudo-terminal and a real Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from ff import FF, SMALL
from rich.console import Console

from ffcli.cli.live import TrainingDisplay
from ffcli.config import DataRef
from ffcli.planning import resolve
from ffcli.settings import Settings

# The command becomes the foreground of its terminal, as under a shell.
OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@dataclass
class Terminal:
    """A process on a terminal, and everything it wrote."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    written: str = ""

    @property
    def text(self) -> str:
        """The output without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)

    def read_until(self, *patterns: str, seconds: float = 240) -> None:
        """Read until the text matches all patterns; fail if it never does."""
        deadline = time.monotonic() + seconds
        while not all(re.search(pattern, self.text) for pattern in patterns):
            if not self._read(deadline):
                missing = [pattern for pattern in patterns if not re.search(pattern, self.text)]
                pytest.fail(f"never shown: {missing}; the end of what was: {self.text[-2000:]}")

    def read_to_end(self, seconds: float = 240) -> int:
        """Read the remaining output and return the exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self._read(time.monotonic() + 0.1)
            assert time.monotonic() < deadline, self.text[-2000:]
        while self._read(time.monotonic() + 0.1):
            pass
        return self.process.wait()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        with suppress(OSError):
            self.written += os.read(self.master, 1 << 16).decode(errors="replace")
            return True
        return False


@contextmanager
def on_terminal(ff: FF, *arguments: str, **environment: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    variables = ff.environment | {"TERM": "xterm-256color", "LINES": "30", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *ff.command(*arguments)],
        env={name: value for name, value in variables.items() if name != "NO_COLOR" or "NO_COLOR" in environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    try:
        yield Terminal(process, master, slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def test_terminal_shows_the_training_and_ctrl_c_restores_it(ff: FF) -> None:
    asked = ("train", *SMALL, "--epochs", "3000", "--pos-phase", "64", "--balanced")
    with on_terminal(ff, *asked) as terminal:
        before = termios.tcgetattr(terminal.slave)
        terminal.read_until(
            r"loading torch",
            r"mnist \(sample\), label, 64:64, fast@1 with hidden 30,20, seed 0   run [0-9a-f]{7}",
            r"epoch (\d{2,})/3000",
            r"hour \d{2,}",
            r"positive",
            r"negative",
            r"\d+ s left|\d+ min \d+ s left",
            r"accuracy  \d+\.\d\d %  .*[▁▂▃▄▅▆▇█]{5}",
            r"layer 1   goodness true \d+\.\d\d  wrong \d+\.\d\d   dead units \d+%",
            r"layer 2   goodness true",
        )
        assert HIDE in terminal.written
        assert "\x1b[1m" in terminal.written
        os.write(terminal.master, b"\x03")
        assert terminal.read_to_end() == 130
        assert termios.tcgetattr(terminal.slave) == before
    assert terminal.written.rindex(SHOW) > terminal.written.rindex(HIDE)
    *_, stays, last = terminal.text.rstrip().splitlines()
    assert re.match(r"epoch +\d+/3000  hour +\d+ .* accuracy", stays)
    assert last.startswith("ff: interrupted: run")
    assert "Traceback" not in terminal.text
    (run,) = ff.json("list-runs")
    assert run["status"] == "interrupted"
    assert run["epochs_done"] >= 9


def test_no_color_gives_plain_lines_on_a_terminal(ff: FF) -> None:
    with on_terminal(ff, "train", *SMALL, "--epochs", "2", NO_COLOR="1") as terminal:
        assert terminal.read_to_end() == 0
    assert "\x1b" not in terminal.written
    assert re.search(r"epoch 2/2  hour +\d+  negative +accuracy", terminal.text)
    for command, shows, environment, plain in (
        ("list-runs", "completed", {"NO_COLOR": "1"}, True),
        ("--help", "Usage: ff", {"NO_COLOR": "1"}, True),
        ("--help", "Usage: ff", {"TERM": "dumb"}, True),
        ("list-runs", "completed", {}, False),
    ):
        with on_terminal(ff, command, **environment) as terminal:
            assert terminal.read_to_end() == 0
        assert shows in terminal.text
        assert ("\x1b" not in terminal.written) == plain
    with on_terminal(ff, "list-runs", TERM="dumb", COLUMNS="60", LINES="") as terminal:
        assert terminal.read_to_end() == 0
    assert "\x1b" not in terminal.written
    assert max(map(len, terminal.text.splitlines())) <= 60


@pytest.mark.parametrize("width", [100, 40])
def test_epoch_counter_is_never_cut_at_any_width(width: int) -> None:
    data = DataRef(
        name="mnist", source="full", fingerprint="f" * 64, features=784, classes=10, train=60_000, test=10_000,
        largest_class=11.35,
    )  # fmt: skip
    display, console = TrainingDisplay(), Console(width=width, file=io.StringIO())
    config = resolve(Settings(epochs=1000), data)
    state = SimpleNamespace(epoch=998, hour=117_000)
    display.begins(config, "0123456789", state)  # type: ignore[arg-type]
    state.epoch = 999  # trained, but neither evaluated nor saved
    for shown_epoch in (999, 1000):
        with console.capture() as capture:
            console.print(display)
        shown = capture.get()
        assert re.search(rf"epoch {shown_epoch}/1000 .*hour 117000\s+positive", shown, flags=re.S)
        assert max(map(len, shown.splitlines())) <= width
        display.epoch_ended(SimpleNamespace(epoch=999, accuracy=None))  # type: ignore[arg-type]
