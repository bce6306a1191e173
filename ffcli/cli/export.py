"""`ff export`: write runs and epochs as CSV, JSON or Parquet, or for an experiment tracker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from ffcli.cli.options import CureFilter, DatabaseOption, DatasetFilter, NegativesFilter, PresetFilter, TagFilter

if TYPE_CHECKING:
    from ffcli.errors import DamagedRun
    from ffcli.store.database import Store
    from ffcli.store.runs import Filters

Format = Literal["csv", "json", "parquet"]
Tracker = Literal["tensorboard", "mlflow"]


def export(
    format: Annotated[
        Format | None,
        typer.Option(
            help="csv, parquet: one row per epoch. json: a list of runs with their epochs.",
            show_default="by the name of the file; csv",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[PLACE]", help="With --to: folder of TensorBoard, or URI of MLflow.", show_default=False
        ),
    ] = None,
    to: Annotated[
        Tracker | None,
        typer.Option("--to", help="Write for this experiment tracker.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write instead of standard output.", show_default=False),
    ] = None,
    dataset: DatasetFilter = None,
    neg: NegativesFilter = None,
    preset: PresetFilter = None,
    cure: CureFilter = None,
    tag: TagFilter = None,
    all: Annotated[bool, typer.Option("--all", help="Include superseded runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Write runs and epochs as CSV, JSON or Parquet, or for TensorBoard or MLflow, oldest run first."""
    from ffcli.cli.console import message, naming_unreadable_runs
    from ffcli.errors import BadOption
    from ffcli.filters import check_dataset, known_negatives, known_preset, named_cure
    from ffcli.store import export
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters

    if as_json and format not in (None, "json"):
        raise BadOption(f"--json and --format {format} contradict each other: leave out one of them")
    if (to is None) != (place is None):
        example = "ff export --to tensorboard DIR, or ff export --to mlflow URI"
        raise BadOption(
            f"--to needs a place: {example}" if to else f"'{place}' is not expected without --to: {example}"
        )
    if to is not None and (as_json or format or output):
        raise BadOption("--to contradicts --format, --json and --output: leave out one of them")
    filters = Filters(
        dataset=dataset, negatives=known_negatives(neg), preset=known_preset(preset), cure=named_cure(cure),
        tag=tag, include_superseded=all, sort="oldest",
    )  # fmt: skip
    with naming_unreadable_runs() as skipped, open_to_read(db) as store:
        check_dataset(store, dataset)
        if to is not None:
            _track(to, place or "", store, filters, skipped)
            return
        path = None if output is None else _new_file(output, store.path)
        chosen = _format("json" if as_json else format, output)
        if chosen == "parquet":
            assert path is not None
            with _writing(path) as part:
                export.write_parquet(store, filters, part, skipped)
        else:
            pieces = (export.as_json if chosen == "json" else export.as_csv)(store, filters, skipped)
            if path is None:
                sys.stdout.writelines(pieces)
                return
            with _writing(path) as part, part.open("x", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
        message(f"written: {output}")


def _format(asked: Format | None, output: Path | None) -> Format:
    """Return the format that was asked for, or that the name of the file says.

    Raises:
        BadOption: if both say different things, or the name says nothing.
    """
    from ffcli.errors import BadOption

    formats = get_args(Format)
    if output is None:
        if asked == "parquet":
            raise BadOption("--format parquet needs --output FILE: it is not text")
        return asked or "csv"
    suffix = output.suffix.lower().removeprefix(".")
    if suffix in formats and asked not in (None, suffix):
        raise BadOption(f"--format {asked} and --output {output} contradict each other: name the file .{asked}")
    if asked is None and suffix not in formats:
        raise BadOption(f"--output {output}: name the file .csv, .json or .parquet, or give --format")
    return asked or cast(Format, suffix)


def _track(to: Tracker, place: str, store: Store, filters: Filters, skipped: Callable[[DamagedRun], None]) -> None:
    from ffcli.cli.console import message
    from ffcli.store.export import runs_with_epochs
    from ffcli.store.runs import list_runs
    from ffcli.text import counted
    from ffcli.trackers import mlflow, tensorboard

    write = {"tensorboard": tensorboard.write, "mlflow": mlflow.write}[to]
    done = write(runs_with_epochs(store, list_runs(store, filters, skipped)), place)
    there = f", {done.kept} already there" if done.kept else ""
    message(f"written to {place}: {counted(done.written, 'run')}{there}")


def _new_file(output: Path, database: Path) -> Path:
    """Return the absolute path of the output file. Raises BadOption if it cannot be a new file."""
    from ffcli.errors import BadOption

    if output.exists() and not output.is_file():
        raise BadOption(f"--output {output} is not a file: give the path of one")
    if not output.absolute().parent.is_dir():
        raise BadOption(f"--output {output}: {output.absolute().parent} is not a folder, create it first")
    if output.exists() and database.exists() and output.samefile(database):
        raise BadOption(f"--output {output} is the database: give another path")
    return output.resolve()


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which replaces `path`. Raises StorageFull, and BadOption if it cannot be written."""
    from ffcli.errors import BadOption
    from ffcli.files import replacing

    try:
        with replacing(path) as part:
            yield part
    except OSError as error:
        raise BadOption(f"--output {path}: {(error.strerror or str(error)).lower()}") from error
