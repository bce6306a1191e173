"""`ff show RUN`: one run, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.train import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from ffcli.records import EpochMetrics, RunRecord

DEAD = 0.99
"""A layer counts as dead once this share of its units is."""


def show(
    run: Annotated[str, typer.Argument(help="The run's id, or its first digits.")],
    toml: Annotated[bool, typer.Option("--toml", help="The options that ask for it again.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Show a run: its config, where it was trained, every epoch, and which layer died when."""
    from ffcli.cli.console import out, print_json
    from ffcli.cli.training import toml_of
    from ffcli.records import epoch_json, run_json
    from ffcli.store import runs
    from ffcli.store.database import open_store

    with open_store(db, create=False) as store:
        found = runs.get(store, run)
        epochs = runs.epochs(store, found.id)
    if toml:
        typer.echo(toml_of(found.config), nl=False)
    elif json:
        print_json(run_json(found) | {"epochs": [epoch_json(e) for e in epochs]})
    else:
        console = out()
        for line in summary(found):
            console.print(line)
        if epochs:
            console.print(epoch_table(epochs, width=console.width))
        for line in deaths(epochs):
            console.print(line)


def summary(run: RunRecord) -> list[str]:
    """What it is, how it ended, and where it was trained."""
    from rich.markup import escape

    from ffcli.cli.words import describe, duration, published_line, status_text

    config = run.config
    lines = [
        f"[bold]{escape(describe(config))}[/]   {status_text(run.status)}",
        f"run {run.id}" + (f", {escape(run.name)}" if run.name else "") + "".join(f" #{escape(t)}" for t in run.tags),
        f"key {config.key}",
        f"hidden {','.join(map(str, config.hidden))}; {config.updates_per_batch} updates a batch"
        f" of {config.batch_size};"
        f" rate awake {config.lr_positive:g}, asleep {config.lr_negative:g}; threshold {config.threshold:g};"
        f" {config.precision}",
        f"started {run.started.astimezone():%Y-%m-%d %H:%M}, {duration(run.seconds)} of training,"
        f" {run.epochs_done} of {config.epochs} epochs",
    ]
    if run.failure:
        lines.append(f"[yellow]{escape(run.failure)}[/]")
    if run.note:
        lines.append(escape(run.note))
    for stretch in run.provenance:
        lines.append(
            f"[dim]from epoch {stretch.from_epoch}: ffcli {stretch.ffcli}"
            + (f" ({stretch.revision})" if stretch.revision else "")
            + f", torch {stretch.torch}, {escape(stretch.device)}, {stretch.threads} threads,"
            + f" on {escape(stretch.host)}[/]"
        )
    if line := published_line(config, run.final_accuracy):
        lines.append(line)
    return lines


def epoch_table(epochs: list[EpochMetrics], *, width: int) -> Table:
    """One line an epoch: accuracy and loss, then goodness (true | wrong label) and dead units by layer."""
    from rich.table import Table

    from ffcli.cli.words import PHASE_WORDS

    layers = max((len(e.dead_units or ()) for e in epochs), default=0)
    validated = any(e.validation_accuracy is not None for e in epochs)
    by_layer = width >= 60 + 16 * layers
    table = Table(box=None, header_style="bold", pad_edge=False)
    titles = ["epoch", "hour", "phase", "test %", *(["held out %"] if validated else []), "loss awake", "asleep"]
    if by_layer:
        titles += [f"goodness {n}" for n in range(1, layers + 1)]
    titles += [f"dead {n}" for n in range(1, layers + 1)]
    for title in titles:
        table.add_column(title, justify="left" if title == "phase" else "right", no_wrap=True)
    for e in epochs:
        cells = [str(e.epoch), str(e.hour), PHASE_WORDS[e.phase], _number(e.accuracy, 2)]
        cells += [_number(e.validation_accuracy, 2)] if validated else []
        cells += [_number(e.loss_positive, 3), _number(e.loss_negative, 3)]
        if by_layer and e.goodness_positive and e.goodness_negative:
            cells += [f"{t:.2f}|{w:.2f}" for t, w in zip(e.goodness_positive, e.goodness_negative, strict=True)]
        elif by_layer:
            cells += [""] * layers
        cells += [f"[red]{share:.0%}[/]" if share >= DEAD else f"{share:.0%}" for share in e.dead_units or ()]
        table.add_row(*cells)
    return table


def deaths(epochs: list[EpochMetrics]) -> list[str]:
    """Which layer died when, and whether it came back."""
    from ffcli.cli.words import PHASE_WORDS

    lines = []
    measured = [e for e in epochs if e.epoch > 0 and e.dead_units]
    for layer in range(max((len(e.dead_units or ()) for e in measured), default=0)):
        shares = [(e, (e.dead_units or ())[layer]) for e in measured]
        died = next(((e, share) for e, share in shares if share >= DEAD), None)
        if died is None:
            continue
        epoch, share = died
        last = shares[-1][1]
        after = "" if last >= DEAD else f"; at the end {last:.0%} of its units are dead"
        when = f"in epoch {epoch.epoch} (hour {epoch.hour}, {PHASE_WORDS[epoch.phase]})"
        lines.append(f"[red]layer {layer + 1} died {when}[/]: {share:.0%} of its units are silent{after}")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
