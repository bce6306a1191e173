"""`ff plot`: pictures of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.report import Data, Metric
from ffcli.cli.train import DatabaseOption, JsonOption

plot_app = typer.Typer(no_args_is_help=True, help="Draw what was measured into a file: cures.")

Out = Annotated[Path, typer.Option(help="The file to write; its name ends in .png, .svg or .pdf.")]


@plot_app.command("cures")
def plot_cures(
    out: Out = Path("cures.png"),
    metric: Annotated[
        Metric, typer.Option(help="Accuracy at the last epoch, the best, or the last five's mean.")
    ] = "final",
    epochs: Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")] = None,
    no_published: Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")] = False,
    preset: Annotated[str | None, typer.Option(help="Only runs of this preset, or 'custom'.")] = None,
    data: Annotated[Data | None, typer.Option(help="Only runs on full data, or on the sample.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Draw accuracy against phase length, plain and cured: the first table of [bold]ff report --table cures[/]."""
    from ffcli.cli.cures import draw_cures
    from ffcli.cli.filters import stored_preset

    draw_cures(
        out, db, json=json, preset=stored_preset(preset), data=data, tag=tag, metric=metric, epochs=epochs,
        published=not no_published,
    )  # fmt: skip
