"""Run `ff` in this process, which saves importing torch again."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from ff import FF

from ffcli.cli import console
from ffcli.cli.main import main


class Output(NamedTuple):
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Inside:
    """Like `FF`, but in this process."""

    ff: FF

    def __call__(
        self, *arguments: str, code: int = 0, answer: str = "", env: Mapping[str, str] | None = None
    ) -> Output:
        """Run `ff` with `answer` on stdin and `env` in the environment; the exit code must be `code`."""
        out, err = io.StringIO(), io.StringIO()
        terminate = signal.getsignal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in os.environ.keys() - self.ff.environment.keys():
                patch.delenv(name)
            for name, value in (self.ff.environment | dict(env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["ff", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(answer))
            _forget_consoles()
            with pytest.raises(SystemExit) as ended:
                main()
        _forget_consoles()
        signal.signal(signal.SIGTERM, terminate)
        assert (ended.value.code or 0) == code, out.getvalue() + err.getvalue()
        assert "Traceback" not in err.getvalue()
        return Output(out.getvalue(), err.getvalue())

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json")[0])

    def refused(self, *arguments: str, code: int = 2, env: Mapping[str, str] | None = None) -> str:
        """Return the error line; only notices may precede it."""
        _, err = self(*arguments, code=code, env=env)
        *notices, line = err.splitlines()
        assert all(notice.startswith("preparing ") for notice in notices), err
        assert line.startswith("ff: ")
        return line


def _forget_consoles() -> None:
    """A console keeps the width and colours of the time when it was created."""
    console.out.cache_clear()
    console.err.cache_clear()


@pytest.fixture
def inside(ff: FF) -> Inside:
    return Inside(ff)
