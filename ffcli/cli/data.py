"""`ff data`: list datasets, download them, import your own files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.commands import Group
from ffcli.data.catalogue import CATALOGUE

if TYPE_CHECKING:
    from ffcli.config import DataRef
    from ffcli.data.datasets import Entry
    from ffcli.report.sheet import Item

data_app = typer.Typer(cls=Group, no_args_is_help=True, help="List, download and import datasets.")


def _complete_names(incomplete: str) -> list[str]:
    return [name for name in CATALOGUE if name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(help=f"{', '.join(CATALOGUE)}.", show_default=False, autocompletion=_complete_names)
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FFCLI_DATA_DIR",
        help="Folder of datasets; default: in the user's data folder.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

LAYOUTS = (
    ("dataset", "CxHxW", "training", "test", "fingerprint", "MB", "from"),
    ("dataset", "CxHxW", "training", "test"),
)
"""Columns of the list, from the widest terminal to the narrowest."""


@data_app.command("list")
def list_data(data_dir: DataDir = None, json: Json = False) -> None:
    """List the available datasets: shape, number of images, fingerprint, size, origin."""
    from dataclasses import asdict

    from ffcli.cli.console import message, print_document, print_json
    from ffcli.data import datasets
    from ffcli.report.sheet import Document, make_list

    entries = datasets.inventory(datasets.data_folder(data_dir, create=False))
    if json:
        print_json([asdict(entry) for entry in entries])
        return
    sheet = make_list(
        LAYOUTS, {"": _lines(entries)}, right=("CxHxW", "training", "test", "MB"), least={"dataset": 12, "from": 12}
    )
    print_document(Document((sheet,)))
    if missing := [name for name in CATALOGUE if (name, "full") not in {(e.name, e.source) for e in entries}]:
        message(
            f"not available in full: {', '.join(missing)};"
            " `ff data fetch` downloads a dataset, `ff data import` reads your files"
        )


@data_app.command()
def fetch(name: Name, data_dir: DataDir = None, json: Json = False) -> None:
    """Download a dataset, unless it is available, and prepare it."""
    from ffcli.cli.console import message
    from ffcli.data import datasets

    _show(datasets.fetch(name, datasets.data_folder(data_dir, create=True), message), json)


@data_app.command("import")
def import_data(
    name: Name,
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder with the published files, or the archive of CIFAR-10 or EMNIST.", show_default=False
        ),
    ],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Prepare a dataset from your own files after checking their digests."""
    from ffcli.cli.console import message
    from ffcli.data import datasets

    _show(datasets.import_files(name, path, datasets.data_folder(data_dir, create=True), message), json)


def _show(ref: DataRef, json: bool) -> None:
    from ffcli.cli.console import line, print_json

    if json:
        print_json(ref.model_dump(mode="json"))
    else:
        line(f"{ref.label}: {ref.train:,} training and {ref.test:,} test images, {ref.fingerprint[:12]}")


def _lines(entries: Iterable[Entry]) -> Iterator[dict[str, str | Item]]:
    """The line of each dataset, by column."""
    for entry in entries:
        yield {
            "dataset": f"{entry.name} (sample)" if entry.source == "sample" else entry.name,
            "CxHxW": "x".join(map(str, entry.image_shape)),
            "training": f"{entry.train:,}",
            "test": f"{entry.test:,}",
            "fingerprint": (entry.fingerprint or "not yet")[:12],
            "MB": f"{entry.bytes / 1e6:.1f}",
            "from": entry.origin,
        }
