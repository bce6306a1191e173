"""`ff plot`: figures of stored runs, a command for each figure of `ffcli.plots`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, PresetFilter, RunArgument, TagFilter
from ffcli.cli.report import DataFilter, HorizonOption, MetricOption, NoPublishedOption
from ffcli.plots import Figure, figures

if TYPE_CHECKING:
    from ffcli.plots import Drawn

plot_app = typer.Typer(no_args_is_help=True, help="Draw figures of stored runs.")

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="The file to draw into (.svg, .png, .pdf).", show_default="named after the figure"
    ),
]


def _of_run(figure: Figure) -> Callable[..., None]:
    """The command of a figure of one run."""

    def command(
        run: RunArgument,
        output: OutputOption = None,
        db: DatabaseOption = None,
        json: JsonOption = False,
    ) -> None:
        from ffcli.cli.words import describe
        from ffcli.plots import OneRun, check_picture, writing_picture
        from ffcli.store import runs, traces
        from ffcli.store.database import open_to_read

        assert figure.of_run is not None
        with open_to_read(db) as store:
            found = runs.get(store, run)
            short_id = runs.short_ids(store, [found.id])[found.id]
            file = output or Path(f"{figure.name}-{short_id}.png")
            check_picture("--output", file)
            trace = traces.trace_of(store, found.id)
            given = OneRun(found, short_id, describe(found.config), runs.epochs(store, found.id), trace)
        with writing_picture("--output", file):
            drawn = figure.of_run(given, file)
        _show(drawn, file, json=json)

    return command


def _of_runs(figure: Figure) -> Callable[..., None]:
    """The command of a figure of many runs."""

    def command(
        output: OutputOption = None,
        metric: MetricOption = "final",
        epochs: HorizonOption = None,
        no_published: NoPublishedOption = False,
        preset: PresetFilter = None,
        data: DataFilter = None,
        tag: TagFilter = None,
        db: DatabaseOption = None,
        json: JsonOption = False,
    ) -> None:
        from functools import partial

        from ffcli.cli.report import timed_run
        from ffcli.filters import stored_preset
        from ffcli.plots import ManyRuns, check_picture, writing_picture
        from ffcli.report.protocol import select
        from ffcli.store.database import open_to_read
        from ffcli.store.outcomes import outcomes, summaries

        assert figure.of_runs is not None
        file = output or Path(f"{figure.name}.png")
        check_picture("--output", file)
        label = stored_preset(preset)
        with open_to_read(db) as store:
            runs = select(summaries(store), data=data, tag=tag)
            reading = partial(outcomes, store, runs=runs), partial(timed_run, store)
            given = ManyRuns(runs, *reading, label, metric, epochs, with_published=not no_published)
            with writing_picture("--output", file):
                drawn = figure.of_runs(given, file)
        _show(drawn, file, json=json)

    return command


def _show(drawn: Drawn, file: Path, *, json: bool) -> None:
    from ffcli.cli.console import message, print_json

    if json:
        print_json({"file": str(file), **drawn.data})
    else:
        typer.echo(f"{file}: {drawn.text}")
    if drawn.remark:
        message(drawn.remark)


for _figure in figures():
    plot_app.command(_figure.name, help=_figure.help)((_of_run if _figure.of_run else _of_runs)(_figure))
