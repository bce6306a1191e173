"""README and docs agree with the program: commands, options, outputs, links. CI runs the command of the README."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ffcli.cli.commands import COMMANDS as NAMES
from ffcli.cli.commands import load
from ffcli.cli.main import app

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import write_docs  # noqa: E402
from write_commands import commands_page  # noqa: E402

PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in write_docs.PAGES}
README = PAGES["README.md"]
MAX_README_LINES = 200


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group with the words that call it."""
    yield (), get_command(app)
    for name in NAMES:
        command = load(name)
        yield (name,), command
        for subname, subcommand in getattr(command, "commands", {}).items():
            yield (name, subname), subcommand


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.help
    assert not words or "\n" not in command.help.split("\n\n")[0], "`ff --help` would break the summary"
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or parameter.help, f"{parameter.opts} has no help"


def test_commands_page_documents_every_command() -> None:
    page = PAGES["docs/commands.md"]
    assert page == commands_page(), "run tools/write_docs.py"
    for words in COMMANDS:
        assert not words or f"# `ff {' '.join(words)}`\n" in page


def calls(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every `ff` command line in the code spans and code blocks of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for code in (*blocks, *spans):
        for line in re.findall(r"(?<![\w-])ff ([a-z-].*)", code):
            arguments = shlex.split(re.split(r" && | \| |`", line)[0], comments=True)
            yield arguments


@pytest.mark.parametrize("name", PAGES)
def test_pages_use_only_existing_commands_and_options(name: str) -> None:
    for arguments in calls(PAGES[name]):
        words: tuple[str, ...] = ()
        while arguments and (*words, arguments[0]) in COMMANDS:
            words = (*words, arguments.pop(0))
        command = COMMANDS[words]
        is_group = bool(getattr(command, "commands", {}))
        placeholder = not arguments or arguments[0].isupper() or arguments[0].startswith("-")
        assert placeholder or not is_group, f"there is no command ff {' '.join([*words, *arguments])}"
        options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        used = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
        assert used <= options, f"ff {' '.join([*words, *arguments])}"


def test_pages_name_only_existing_environment_variables() -> None:
    known = {parameter.envvar for command in COMMANDS.values() for parameter in command.params if parameter.envvar}
    assert set(re.findall(r"FFCLI_[A-Z_]+", PAGES["docs/data.md"])) == known
    for name, text in PAGES.items():
        assert set(re.findall(r"FFCLI_[A-Z_]+", text)) <= known | {"FFCLI_TRAJECTORIES"}, name


BLOCKS = [(name, block) for name, text in PAGES.items() for block in write_docs.BLOCK.finditer(text)]


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[f"{name}: {block['command']}" for name, block in BLOCKS])
def test_outputs_are_what_the_program_prints(name: str, block: re.Match[str]) -> None:
    with write_docs.copied_results() as run:
        assert block["text"] == write_docs.new_text(block, run), f"{name} is out of date: run tools/write_docs.py"


def test_every_output_marker_has_a_block() -> None:
    assert BLOCKS
    assert sum(text.count("\n<!-- output:") for text in PAGES.values()) == len(BLOCKS)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_resolve(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_contributing_page_names_existing_files() -> None:
    text = PAGES["docs/contributing.md"]
    paths = re.findall(r"^(\w+/[\w/.]*) ", text, re.MULTILINE) + re.findall(r"`(\w+/[\w/.]+)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def marked_command(purpose: str) -> str:
    """Return one of the README's two installation commands."""
    found = re.search(rf"^<!-- {purpose} -->\n```sh\n(.+)\n```$", README, flags=re.MULTILINE)
    assert found, f"the README has no command marked {purpose}"
    return found[1]


def test_the_two_commands_share_one_environment() -> None:
    (train, last), (tests, checks) = (marked_command(purpose).rsplit(" && ", 1) for purpose in ("train", "tests"))
    assert train == tests
    assert last == ".venv/bin/ff train --dataset fashion --neg masks --pos-phase 16"
    assert checks == ".venv/bin/nox"


def test_ci_runs_the_second_command_of_the_readme(tmp_path: Path) -> None:
    """Run CI in a copy, with a python3 that only fails."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path)
    stand_in = tmp_path / "bin" / "python3"
    stand_in.write_text('#!/bin/sh\necho "asked: $*"\nexit 7\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci" / "run"], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.stdout == f"+ {marked_command('tests')}\nasked: -m venv .venv\n"
    assert done.returncode == 7
