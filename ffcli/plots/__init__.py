"""Figures drawn with matplotlib, one file each.

A figure of stored runs is a module of this package with a `FIGURE`; `ff plot` has a command for each. Adding a figure
takes one file. Modules import nothing heavy at their top, for the command line loads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ffcli.choices import Metric
from ffcli.errors import BadOption

if TYPE_CHECKING:
    from ffcli.records import EpochMetrics, HourTrace, Outcome, RunRecord, RunSummary

FORMATS = (".svg", ".png", ".pdf")


class OneRun(NamedTuple):
    """What a figure of one run is drawn from."""

    run: RunRecord
    short_id: str
    description: str
    epochs: Sequence[EpochMetrics]
    trace: Sequence[HourTrace]


class ManyRuns(NamedTuple):
    """What a figure of many runs is drawn from."""

    runs: Sequence[RunSummary]
    """Those that the options `--data` and `--tag` select."""
    outcomes_at: Callable[[int], Iterable[Outcome]]
    """Returns their outcomes at a horizon of epochs."""
    timed: Callable[[str], tuple[RunRecord, list[EpochMetrics]]]
    """Returns a run, and its epochs without a trace, by its id."""
    preset: str | None
    """The preset that `--preset` asks for, or `custom`."""
    metric: Metric
    epochs: int | None
    with_published: bool


class Drawn(NamedTuple):
    """What a figure shows."""

    text: str
    """In one line."""
    data: dict[str, Any]
    """For JSON, beside the name of the file."""
    remark: str = ""
    """A line on what was left out."""


class Figure(NamedTuple):
    """A figure that `ff plot NAME` draws: of one run, or of many."""

    name: str
    help: str
    of_run: Callable[[OneRun, Path], Drawn] | None = None
    """Draws into the file. Raises BadOption if there is nothing to draw, OSError if it cannot be written."""
    of_runs: Callable[[ManyRuns, Path], Drawn] | None = None


def figures() -> Iterator[Figure]:
    """Yield the figures of stored runs, by name."""
    from importlib import import_module
    from pkgutil import iter_modules

    for module in iter_modules(__path__):
        figure = getattr(import_module(f"{__name__}.{module.name}"), "FIGURE", None)
        if figure is not None:
            yield figure


def check_picture(option: str, file: Path) -> None:
    """Check the name of a file to draw into, before anything is computed.

    Args:
        option: the option that names the file, for the message.
        file: the file.

    Raises:
        BadOption: if no picture can be drawn into the file.
    """
    if file.suffix.lower() not in FORMATS:
        raise BadOption(f"{option} {file}: the name must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if file.is_dir():
        raise BadOption(f"{option} {file} is a folder: give the name of a file")
    if not file.absolute().parent.is_dir():
        raise BadOption(f"{option} {file}: there is no folder {file.parent}")


@contextmanager
def writing_picture(option: str, file: Path) -> Iterator[None]:
    """Translate the errors of writing a picture.

    Raises:
        BadOption: if the file that `option` names cannot be written.
        OSError: on a full disk.
    """
    from ffcli.files import is_disk_full

    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadOption(f"{option} {file} cannot be written: {(error.strerror or str(error)).lower()}") from error
