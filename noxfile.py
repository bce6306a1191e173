"""Checks of the project.

`nox` runs the test suite, `nox -s lint` and `nox -s types` the static checks, and `nox -s docs` regenerates the
documentation, all in the environment that nox itself lives in, so that torch is installed once. `nox -s faults` kills,
damages and overloads the program for ten minutes (see docs/reliability.md). `nox -s oldest` and
`nox -s newest` run the suite in environments of their own, with the lowest versions that pyproject.toml allows and with
the newest ones (several gigabytes each).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
EVERYTHING = f".[{','.join(EXTRAS)}]"

IN_PARALLEL = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
"""One process more than there are cores, because tests of workers that fail spend much of their time waiting."""


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite; arguments after `--` go to pytest."""
    session.run(sys.executable, "-m", "pytest", *IN_PARALLEL, *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check rules and format with Ruff."""
    session.run(sys.executable, "-m", "ruff", "check", external=True)
    session.run(sys.executable, "-m", "ruff", "format", "--check", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy (strict)."""
    session.run(sys.executable, "-m", "mypy", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Regenerate docs/commands.md and every table, picture and program output in README.md and docs/."""
    session.run(sys.executable, "tools/write_docs.py", external=True)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, damage and overload `ff` for ten minutes; FAULT_SEED repeats a campaign, arguments after `--` go to it."""
    session.run(sys.executable, "-m", "tests.faults", *session.posargs, external=True)


@nox.session(venv_backend="venv")
def oldest(session: nox.Session) -> None:
    """Run the test suite with the lowest versions that pyproject.toml allows."""
    pins = Path(session.create_tmp(), "oldest.txt")
    pins.write_text("".join(f"{pin}\n" for pin in lowest_versions()), encoding="utf-8")
    session.install("--constraint", str(pins), "--editable", EVERYTHING)
    run_suite(session)


@nox.session(venv_backend="venv")
def newest(session: nox.Session) -> None:
    """Run the test suite with the newest version of every dependency, indirect ones included."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "--editable", EVERYTHING)
    run_suite(session)


def lowest_versions() -> Iterator[str]:
    """Yield `name==version` for the lower bound of each direct dependency in pyproject.toml."""
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]:
        requirement = Requirement(line)
        (lowest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
        yield f"{requirement.name}=={lowest}"


def run_suite(session: nox.Session) -> None:
    """Run pytest in the session's environment; the log shows its versions first."""
    session.run("python", "-m", "pip", "list")
    session.run("python", "-m", "pytest", *IN_PARALLEL, *session.posargs)
