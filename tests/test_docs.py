"""Every command and option has help and is documented, and CI runs the commands of the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ffcli.cli.main import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTATION = "\n".join([README, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md")))])


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group with its words."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        yield words, command
        for name in getattr(command, "commands", {}):
            yield from walk(command.get_command(None, name), (*words, name))

    return walk(get_command(app), ())


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_and_its_options_have_help_and_are_documented(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.help
    assert " ".join(("ff", *words)) in DOCUMENTATION
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            assert re.search(rf"\b{parameter.name.upper()}\b", DOCUMENTATION)
            continue
        assert parameter.help, f"{parameter.opts} has no help"
        for option in parameter.opts + parameter.secondary_opts:
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", DOCUMENTATION), f"{option} is not documented"


def test_every_environment_variable_is_documented_and_no_other() -> None:
    read = {parameter.envvar for command in COMMANDS.values() for parameter in command.params if parameter.envvar}
    only_in_tests = {"FFCLI_TRAJECTORIES", "FFCLI_TEST_DATA"}
    assert set(re.findall(r"FFCLI_[A-Z_]+", DOCUMENTATION)) - only_in_tests == read


def test_every_documented_call_has_options_that_exist() -> None:
    options = {o for command in COMMANDS.values() for parameter in command.params for o in parameter.opts} | {"--help"}
    for call in re.findall(r"\bff ([a-z-]+[^`\n#]*)", DOCUMENTATION):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", call)) <= options, call


def set_up(purpose: str) -> str:
    """Return one of the two commands that the README marks."""
    found = re.search(rf"^<!-- {purpose} -->\n```sh\n(.+)\n```$", README, flags=re.MULTILINE)
    assert found, f"the README has no command marked {purpose}"
    return found[1]


def test_the_two_commands_share_one_environment() -> None:
    (train, last), (tests, checks) = (set_up(purpose).rsplit(" && ", 1) for purpose in ("train", "tests"))
    assert train == tests
    assert last == ".venv/bin/ff train --dataset fashion --neg masks --pos-phase 16"
    assert checks == ".venv/bin/nox"


def test_ci_runs_the_readmes_second_command(tmp_path: Path) -> None:
    """In a copy, with a `python3` that only fails."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path)
    stand_in = tmp_path / "bin" / "python3"
    stand_in.write_text('#!/bin/sh\necho "asked: $*"\nexit 7\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci" / "run"], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.stdout == f"+ {set_up('tests')}\nasked: -m venv .venv\n"
    assert done.returncode == 7
