"""The checks, run in the environment that nox itself lives in, so that torch is installed once.

`nox` runs the suite; `nox -s lint` and `nox -s types` the rest.
"""

import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, a process a core; arguments behind `--` go to pytest."""
    session.run(sys.executable, "-m", "pytest", "-n", "auto", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.run(sys.executable, "-m", "ruff", "check", external=True)
    session.run(sys.executable, "-m", "ruff", "format", "--check", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.run(sys.executable, "-m", "mypy", external=True)
