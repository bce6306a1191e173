"""`ff compare`: two protocols, negatives or tags over the same cells and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.choices import Metric
from ffcli.cli.options import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from ffcli.report.comparison import Comparison
    from ffcli.report.selectors import Selector


def compare(
    a: Annotated[str, typer.Argument(help="Side a: NAME=VALUE, or several with commas between.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Side b, which is held against it.", metavar="B")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only such runs on both sides, as NAME=VALUE; may be repeated.")
    ] = None,
    metric: Annotated[
        Metric, typer.Option(help="Accuracy at the last epoch, the best, or the last five's mean.")
    ] = "final",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Read every run after this many epochs.", show_default="what most pairs reached"),
    ] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two sides over the same cells and seeds, such as [bold]ff compare neg=label neg=masks[/].

    NAME is an option of `ff train`, or tag: tag=baseline tag=cured, preset=fast,threshold=1.5 preset=paper,threshold=2

    Paired are runs that agree in all that neither side names; under tags, in data, negatives, phases and seed.

    The interval is a bootstrap over the pairs; one side is better where it excludes 0.
    """
    from functools import partial

    from ffcli.cli.console import out, print_json
    from ffcli.report import comparison_formats as formats
    from ffcli.report.comparison import compare as compared
    from ffcli.report.comparison_json import as_json
    from ffcli.report.selectors import parse_selector
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import outcomes, summaries

    ours, theirs, *both = (parse_selector(text) for text in (a, b, *(only or ())))
    with open_to_read(db) as store:
        runs = summaries(store)
        comparisons, pairing = compared(
            runs, partial(outcomes, store, runs=runs), ours, theirs, only=both, metric=metric, epochs=epochs
        )
    if json:
        print_json(as_json(comparisons, pairing, ours, theirs, both))
        return
    console = out()
    console.print(
        "\n".join([f"a: {a}", f"b: {b}", *(f"only: {text}" for text in only or ())]), markup=False, style="bold"
    )
    for comparison in comparisons:
        _show(comparison, ours, theirs)
    for line in filter(None, (formats.caution(comparisons), formats.unpaired(pairing))):
        console.print(line)


def _show(comparison: Comparison, a: Selector, b: Selector) -> None:
    from rich.text import Text

    from ffcli.cli.console import out
    from ffcli.cli.layout import fitting_table
    from ffcli.report import comparison_formats as formats

    console = out()
    names = formats.side_names(a, b)
    console.print(Text(formats.caption(comparison), "italic"))
    if differing := formats.also_differing(comparison, a, b):
        console.print(Text(f"partners also differ in {differing}"))
    for title, lines in formats.tables(comparison, names):
        console.print(Text(f"\n{title}", "bold"))
        rows = [{column: Text(text) for column, text in line.items()} for line in lines]
        console.print(fitting_table(formats.layouts(names), rows, width=console.width, right={*names, "b - a"}))
    console.print()
    for line in formats.summary(comparison, names):
        console.print(Text(line))
    console.print()
