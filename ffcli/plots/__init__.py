"""Figures drawn with matplotlib, one file each.

A figure of stored runs or of data is a module of this package with a `FIGURE`; `ff plot` has a command for each. Adding
a figure takes one file. Modules import nothing heavy at their top, because the command line loads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ffcli.choices import Metric
from ffcli.errors import BadOption

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Page
    from numpy.typing import NDArray

    from ffcli.records import EpochMetrics, GoodnessSamples, HourTrace, NegativeSteps, Outcome, RunRecord, RunSummary

FORMATS = (".svg", ".png", ".pdf")


class OneRun(NamedTuple):
    """What a figure of one run is drawn from."""

    run: RunRecord
    short_id: str
    parts: tuple[str, ...]
    """Dataset, negatives, schedule, protocol and seed in words."""
    epochs: Sequence[EpochMetrics]
    trace: Sequence[HourTrace]
    weights: Callable[[], tuple[Mapping[str, NDArray[Any]], int]]
    """Returns the stored weights, named as in `torch.nn.Linear`, and their epoch. Raises BadOption if there are none.
    """
    image_shape: Callable[[], tuple[int, int, int]]
    """Returns (C, H, W) of the images."""
    goodness: Callable[[], GoodnessSamples]
    """Returns the goodness of the test images in the stored network. Raises BadOption if there is none."""

    def title(self, epoch: int) -> str:
        """Return two lines: dataset, negatives, schedule, protocol and seed; the epoch that is shown, and the id."""
        return f"{', '.join(self.parts)}\nepoch {epoch} of run {self.short_id}"


class ManyRuns(NamedTuple):
    """What a figure of many runs is drawn from."""

    runs: Sequence[RunSummary]
    """Those that the options `--data` and `--tag` select."""
    outcomes_at: Callable[[int], Iterable[Outcome]]
    """Returns their outcomes at a horizon of epochs."""
    evaluated: Callable[[Sequence[RunSummary]], Mapping[int, int]]
    """Returns how many of the runs were evaluated after each epoch."""
    timed: Callable[[str], tuple[RunRecord, list[EpochMetrics]]]
    """Returns a run, and its epochs without a trace, by its id."""
    preset: str | None
    """The preset that `--preset` asks for, or `custom`."""
    protocol: str | None
    """The protocol that `--protocol` asks for, by its name or a part of it."""
    metric: Metric
    epochs: int | None
    with_published: bool


class Drawn(NamedTuple):
    """What a figure shows."""

    pages: Sequence[Page]
    """At least one."""
    text: str
    """In one line."""
    data: dict[str, Any]
    """For JSON, beside the names of the files."""
    remark: str = ""
    """A line on what was left out."""


class Figure(NamedTuple):
    """A figure that `ff plot NAME` draws, from one of four things. Each function raises BadOption if there is nothing
    to draw."""

    name: str
    help: str
    of_run: Callable[[OneRun], Drawn] | None = None
    """Of one run."""
    of_each: Callable[[Sequence[OneRun]], Drawn] | None = None
    """Of one run or several that the user names."""
    of_runs: Callable[[ManyRuns], Drawn] | None = None
    """Of all runs that filters admit."""
    of_data: Callable[[NegativeSteps], Drawn] | None = None
    """Of a dataset and its negatives."""


def figures() -> Iterator[Figure]:
    """Yield the figures of `ff plot`, by name."""
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


def save_pages(pages: Sequence[Page], file: Path) -> list[Path]:
    """Write pages in the format of the file's ending, each file atomically. Call it inside `style.styled`.

    Args:
        pages: at least one. Several pages share one PDF; as PNG or SVG each has a file `NAME-1.png`, `NAME-2.png`, ...
        file: the file to write.

    Returns:
        The files written.

    Raises:
        OSError: if a file cannot be written.
    """
    from ffcli.files import replacing

    format = file.suffix.lower()
    if format == ".pdf":
        from matplotlib.backends.backend_pdf import PdfPages

        with replacing(file) as part, PdfPages(part, metadata=_metadata(pages[0], format)) as book:
            for page in pages:
                book.savefig(page)
        return [file]
    numbered = [file.with_name(f"{file.stem}-{n}{file.suffix}") for n in range(1, len(pages) + 1)]
    files = numbered if len(pages) > 1 else [file]
    for page, target in zip(pages, files, strict=True):
        with replacing(target) as part:
            page.savefig(part, format=format[1:], metadata=_metadata(page, format))
    return files


def _metadata(page: Page, format: str) -> dict[str, Any]:
    """The title, without the time, so that the same runs give the same file."""
    date = {".pdf": "CreationDate", ".svg": "Date"}.get(format)
    title = " ".join(page.get_suptitle().replace(r"\$", "$").split())
    return {"Title": title, **({date: None} if date else {})}


@contextmanager
def writing_picture(option: str, file: Path) -> Iterator[None]:
    """Draw and write in the shared style, and translate the errors of writing.

    Raises:
        BadOption: if the file that `option` names cannot be written.
        StorageFull: on a full disk.
    """
    from ffcli.plots.style import styled

    try:
        with styled():
            yield
    except OSError as error:
        raise BadOption(f"{option} {file} cannot be written: {(error.strerror or str(error)).lower()}") from error
