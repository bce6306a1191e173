"""`ff plot`: pictures of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.choices import DataKind, Metric
from ffcli.cli.options import DatabaseOption, JsonOption

plot_app = typer.Typer(no_args_is_help=True, help="Draw what was measured into a file.")


@plot_app.command("cures")
def plot_cures(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to draw into (.svg, .png, .pdf).")] = Path(
        "cures.png"
    ),
    metric: Annotated[
        Metric, typer.Option(help="Accuracy at the last epoch, the best, or the last five's mean.")
    ] = "final",
    epochs: Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")] = None,
    no_published: Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")] = False,
    preset: Annotated[str | None, typer.Option(help="Only runs of this preset, or 'custom'.")] = None,
    data: Annotated[DataKind | None, typer.Option(help="Only runs on full data, or on the sample.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Draw accuracy against phase length, plain and cured: the first table of [bold]ff report --table cures[/]."""
    from ffcli.cli.cures import draw_cures
    from ffcli.cli.filters import stored_preset

    draw_cures(
        output, db, json=json, preset=stored_preset(preset), data=data, tag=tag, metric=metric, epochs=epochs,
        published=not no_published,
    )  # fmt: skip


@plot_app.command()
def trace(
    run: Annotated[str, typer.Argument(help="The run's id, or its first digits.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to draw into (.svg, .png, .pdf).", show_default="trace-RUN.png here"
        ),
    ] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Draw what `ff train --trace` kept: goodness, drift, cosine of the gradients and dead units, hour by hour."""
    from dataclasses import asdict

    from ffcli.cli.console import print_json
    from ffcli.cli.pictures import check_picture, drawing
    from ffcli.cli.words import describe
    from ffcli.errors import BadOption
    from ffcli.store import runs, traces
    from ffcli.store.database import open_to_read
    from ffcli.text import counted, named

    with open_to_read(db) as store:
        found = runs.get(store, run)
        short = runs.short_ids(store, [found.id])[found.id]
        rows = traces.trace_of(store, found.id)
    file = output or Path(f"trace-{short}.png")
    check_picture("--output", file)
    if not rows:
        raise BadOption(f"run {short} has no trace: `ff train` with --trace 1-4, and --force, trains it anew with one")

    from ffcli.plots.trace import save_trace

    with drawing("--output", file):
        save_trace(rows, found.config, f"{describe(found.config)}, run {short}", file)
    if json:
        print_json({"run": found.id, "file": str(file), "trace": [asdict(row) for row in rows]})
    else:
        phases, hours = ({getattr(row, name) for row in rows} for name in ("phase", "hour"))
        typer.echo(f"{file}: {named('phase', phases)}, {counted(len(hours), 'hour')} of run {short}")
