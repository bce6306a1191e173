"""`ff plot`: figures of stored runs and of data, a command for each figure of `ffcli.plots`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.commands import Group
from ffcli.cli.options import (
    DatabaseOption,
    DataFolderOption,
    JsonOption,
    PresetFilter,
    RunArgument,
    TagFilter,
    complete_runs,
    complete_setting,
)
from ffcli.cli.report import DataFilter, HorizonOption, MetricOption, NoPublishedOption, ProtocolFilter
from ffcli.plots import Figure, figures

if TYPE_CHECKING:
    from ffcli.plots import Drawn, OneRun
    from ffcli.store.database import Store

plot_app = typer.Typer(cls=Group, no_args_is_help=True, help="Draw figures of stored runs and of negatives.")

OUTPUT_HELP = "The file to draw into (.svg, .png, .pdf)."

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help=OUTPUT_HELP, show_default="NAME.png, after the figure and the run")
]

EXAMPLES = 10
"""Images that the figure of negatives may show."""


def _of_run(figure: Figure) -> Callable[..., None]:
    """The command of a figure of one run."""

    def command(
        run: RunArgument,
        output: OutputOption = None,
        data_dir: DataFolderOption = None,
        db: DatabaseOption = None,
        json: JsonOption = False,
    ) -> None:
        from ffcli.store.database import open_to_read

        assert figure.of_run is not None
        _check(output)
        with open_to_read(db) as store:
            given = _read(store, run, data_dir)
            file = output or Path(f"{figure.name}-{given.short_id}.png")
            _draw(partial(figure.of_run, given), file, json=json)

    return command


def _of_each(figure: Figure) -> Callable[..., None]:
    """The command of a figure of one run or several."""

    def command(
        runs: Annotated[
            list[str],
            typer.Argument(metavar="RUN...", help="Ids of runs, or their first digits.", autocompletion=complete_runs),
        ],
        output: OutputOption = None,
        db: DatabaseOption = None,
        json: JsonOption = False,
    ) -> None:
        from ffcli.store.database import open_to_read

        assert figure.of_each is not None
        _check(output)
        with open_to_read(db) as store:
            read = {given.run.id: given for given in (_read(store, run, None) for run in runs)}
            given = list(read.values())
        file = output or Path(f"{figure.name}-{'-'.join(one.short_id for one in given)}.png")
        _draw(partial(figure.of_each, given), file, json=json)

    return command


def _of_runs(figure: Figure) -> Callable[..., None]:
    """The command of a figure of all runs that filters admit."""

    def command(
        output: OutputOption = None,
        metric: MetricOption = "final",
        epochs: HorizonOption = None,
        no_published: NoPublishedOption = False,
        protocol: ProtocolFilter = None,
        preset: PresetFilter = None,
        data: DataFilter = None,
        tag: TagFilter = None,
        db: DatabaseOption = None,
        json: JsonOption = False,
    ) -> None:
        from ffcli.cli.console import naming_unreadable_runs
        from ffcli.cli.report import timed_run
        from ffcli.filters import known_preset
        from ffcli.plots import ManyRuns
        from ffcli.report.protocol import select
        from ffcli.store.database import open_to_read
        from ffcli.store.outcomes import evaluated_epochs, outcomes, summaries

        assert figure.of_runs is not None
        _check(output)
        known_preset(preset)
        with naming_unreadable_runs() as skipped, open_to_read(db) as store:
            runs = select(summaries(store, skipped), data=data, tag=tag)
            reading = (
                partial(outcomes, store, runs=runs), partial(evaluated_epochs, store), partial(timed_run, store)
            )  # fmt: skip
            given = ManyRuns(
                runs, *reading, preset, protocol, metric, epochs, with_published=not no_published
            )  # fmt: skip
            _draw(partial(figure.of_runs, given), output or Path(f"{figure.name}.png"), json=json)

    return command


def _of_data(figure: Figure) -> Callable[..., None]:
    """The command of a figure of a dataset and its negatives."""

    def command(
        dataset: Annotated[
            str,
            typer.Option(help="A dataset, or the path of an .npz file.", autocompletion=complete_setting("dataset")),
        ] = "mnist",
        neg: Annotated[
            str, typer.Option(help="How negatives are made.", autocompletion=complete_setting("neg"))
        ] = "masks",
        seed: Annotated[int, typer.Option(help="Seed of the run whose first batch is drawn.")] = 0,
        data: Annotated[
            str | None,
            typer.Option(
                help="full, sample, or auto, which takes the sample if there is no full dataset.", envvar="FFCLI_DATA"
            ),
        ] = None,
        output: OutputOption = None,
        data_dir: DataFolderOption = None,
        json: JsonOption = False,
    ) -> None:
        from ffcli.cli.console import message
        from ffcli.planning import plan_training

        assert figure.of_data is not None
        _check(output)
        # The order of the images does not depend on the size of a batch, so that a small dataset can be drawn, too.
        asked = {"dataset": dataset, "neg": neg, "seed": seed, "device": "cpu", "batch_size": EXAMPLES}
        asked |= {"data": data} if data else {}
        plan = plan_training(asked, config_file=None, force=False, data_folder=data_dir, notify=message)
        file = output or Path(f"{figure.name}-{plan.config.data.name}-{neg}.png")

        from ffcli.inference.inspection import negative_steps  # torch, which takes seconds to load

        given = negative_steps(plan.config, plan.data_folder, count=EXAMPLES)
        _draw(partial(figure.of_data, given), file, json=json)

    return command


def _read(store: Store, id: str, data_dir: Path | None) -> OneRun:
    """Read a run; its weights and what needs them are read when they are asked for."""
    from ffcli.data import datasets
    from ffcli.plots import OneRun
    from ffcli.records import GoodnessSamples
    from ffcli.report.titles import parts_of
    from ffcli.running.recording import stored_weights
    from ffcli.store import runs, traces

    found, folder = runs.get(store, id), datasets.data_folder(data_dir, create=True)

    def goodness() -> GoodnessSamples:
        weights, _ = stored_weights(store, found)

        from ffcli.inference.inspection import goodness_of  # torch, which takes seconds to load

        return goodness_of(found.config, weights, folder)

    return OneRun(
        found,
        runs.short_ids(store, [found.id])[found.id],
        parts_of(found.config),
        runs.epochs(store, found.id),
        traces.trace_of(store, found.id),
        weights=partial(stored_weights, store, found),
        image_shape=partial(datasets.image_shape, found.config.data, folder),
        goodness=goodness,
    )


def _check(output: Path | None) -> None:
    from ffcli.plots import check_picture

    if output is not None:
        check_picture("--output", output)


def _draw(draw: Callable[[], Drawn], file: Path, *, json: bool) -> None:
    """Draw, write, and print the names of the files and what they show."""
    from ffcli.cli.console import line, message, print_json
    from ffcli.plots import check_picture, save_pages, writing_picture

    check_picture("--output", file)
    with writing_picture("--output", file):
        drawn = draw()
        files = save_pages(drawn.pages, file)
    if json:
        print_json({"files": list(map(str, files)), **drawn.data})
    else:
        line(f"{', '.join(map(str, files))}: {drawn.text}")
    if drawn.remark:
        message(drawn.remark)


def _command(figure: Figure) -> Callable[..., None]:
    kinds = (
        (figure.of_run, _of_run),
        (figure.of_each, _of_each),
        (figure.of_runs, _of_runs),
        (figure.of_data, _of_data),
    )
    return next(make for draw, make in kinds if draw)(figure)


for _figure in figures():
    plot_app.command(_figure.name, help=_figure.help)(_command(_figure))
