"""`ff report`: the paper's tables, with what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffcli.report.tables import Table

Number = Literal["1", "2", "all"]
Metric = Literal["final", "best", "last5"]
Format = Literal["rich", "markdown", "csv", "json", "latex"]
Data = Literal["full", "sample"]


def report(
    table: Annotated[Number, typer.Option(help="1: balanced phases. 2: n awake hours to one asleep.")] = "all",
    metric: Annotated[
        Metric, typer.Option(help="Accuracy at the last epoch, the best, or the last five's mean.")
    ] = "final",
    epochs: Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")] = None,
    no_published: Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")] = False,
    format: Annotated[Format, typer.Option(help="How to print the tables.")] = "rich",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    preset: Annotated[str | None, typer.Option(help="Only runs of this preset, or 'custom'.")] = None,
    data: Annotated[Data | None, typer.Option(help="Only runs on full data, or on the sample.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    db: Annotated[str | None, typer.Option(envvar="FFCLI_DB", help="The database: a path or an SQLite URL.")] = None,
) -> None:
    """Draw the paper's two tables from what was measured, one pair for each protocol."""
    from functools import partial

    from ffcli.cli.filters import stored_preset
    from ffcli.report.protocol import default_protocol, select
    from ffcli.report.tables import draw
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import outcomes, summaries

    preset = stored_preset(preset)
    with open_to_read(db) as store:
        runs = select(summaries(store), preset=preset, data=data, tag=tag)
        tables = draw(
            runs,
            partial(outcomes, store, runs=runs),
            default=default_protocol(preset, data),
            metric=metric,
            epochs=epochs,
            numbers=(1, 2) if table == "all" else (int(table),),
            published=not no_published,
        )
    _print(tables, "json" if as_json else format)


def _print(tables: Sequence[Table], format: Format) -> None:
    from ffcli.cli.console import out, print_json
    from ffcli.report import formats, render

    if format == "rich":
        render.show(tables, out())
    elif format == "json":
        print_json([formats.as_json(table) for table in tables])
    else:
        write = {"markdown": formats.as_markdown, "csv": formats.as_csv, "latex": formats.as_latex}[format]
        typer.echo(write(tables), nl=False)
