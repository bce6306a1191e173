"""`ff train`: one run, from the store if it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DatabaseOption = Annotated[
    str | None, typer.Option("--db", envvar="FFCLI_DB", help="Database: a path or sqlite:///PATH.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataFolderOption = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="FFCLI_DATA_DIR", help="Where data sets are kept.", show_default=False),
]


def option(help: str, *names: str, env: str | None = None, default: str | bool = False, panel: str = "Options") -> Any:
    return typer.Option(*names, help=help, envvar=env, show_default=default, rich_help_panel=panel)


WHAT, HOW, WHERE = "What is trained", "How", "Where and how it is kept"


def train(
    dataset: Annotated[
        str | None,
        option("mnist, fashion, cifar10, or the path of an .npz.", env="FFCLI_DATASET", default="mnist", panel=WHAT),
    ] = None,
    data: Annotated[
        str | None, option("auto, full, or the sample that ships.", env="FFCLI_DATA", default="auto", panel=WHAT)
    ] = None,
    neg: Annotated[str | None, option("Negative data: label or masks.", default="label", panel=WHAT)] = None,
    pos_phase: Annotated[
        int | None, option("Hours (batches) awake, on positive data.", default="1", panel=WHAT)
    ] = None,
    neg_phase: Annotated[int | None, option("Hours asleep, on negative data.", default="1", panel=WHAT)] = None,
    balanced: Annotated[bool, option("As many hours asleep as awake.", "--balanced", panel=WHAT)] = False,
    unseparated: Annotated[
        bool | None, option("No phases: both kinds in every hour.", "--unseparated", panel=WHAT)
    ] = None,
    preset: Annotated[str | None, option("Rate, updates and epochs: fast or paper.", default="fast", panel=HOW)] = None,
    epochs: Annotated[int | None, option("Epochs.", default="the preset's", panel=HOW)] = None,
    lr: Annotated[
        str | None,
        option("Learning rate, or auto: less for long phases.", default="the preset's; auto with a cure", panel=HOW),
    ] = None,
    lr_scaling: Annotated[
        str | None,
        option("Rate of the positive phase: ratio, notebook or none.", default="ratio; none with a cure", panel=HOW),
    ] = None,
    updates_per_batch: Annotated[
        int | None, option("Adam steps a layer takes on each batch.", default="the preset's", panel=HOW)
    ] = None,
    batch_size: Annotated[int | None, option("Images an hour.", default="512", panel=HOW)] = None,
    threshold: Annotated[float | None, option("Goodness that tells the kinds apart.", default="1.5", panel=HOW)] = None,
    hidden: Annotated[str | None, option("Units of each layer.", default="500,500,500", panel=HOW)] = None,
    mask_blur: Annotated[int | None, option("Times a mask is blurred.", default="5", panel=HOW)] = None,
    seed: Annotated[int | None, option("Seed of every random choice.", default="0", panel=HOW)] = None,
    holdout: Annotated[
        int | None, option("Training images held out, to choose the best epoch.", default="0", panel=HOW)
    ] = None,
    precision: Annotated[
        str | None,
        option("float32, float64, bf16 (products in bfloat16), or tf32 (CUDA).", default="float32", panel=HOW),
    ] = None,
    cure: Annotated[
        str | None,
        option("What bridges the phases: none, gradient-memory, replay or replay:SAMPLES.", default="none", panel=HOW),
    ] = None,
    warmup: Annotated[
        int | None, option("Hours over which the rate rises.", default="0; 256 with --lr auto", panel=HOW)
    ] = None,
    beta1: Annotated[float | None, option("Decay rate of Adam's first moment.", default="0.9", panel=HOW)] = None,
    beta2: Annotated[float | None, option("Decay rate of Adam's second moment.", default="0.999", panel=HOW)] = None,
    eval_every: Annotated[int, option("Evaluate every so many epochs.", default="1", panel=HOW)] = 1,
    config: Annotated[
        Path | None, option("Options from a file, as `ff show RUN --toml` prints them; flags go before.", panel=WHERE)
    ] = None,
    device: Annotated[
        str, option("auto, cpu, cuda or cuda:N.", env="FFCLI_DEVICE", default="auto", panel=WHERE)
    ] = "auto",
    threads: Annotated[
        int | None, option("Threads of a matrix product.", env="FFCLI_THREADS", default="torch's", panel=WHERE)
    ] = None,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    name: Annotated[str | None, option("A name for the run.", panel=WHERE)] = None,
    tag: Annotated[list[str] | None, option("A tag; may be repeated.", panel=WHERE)] = None,
    note: Annotated[str | None, option("A note.", panel=WHERE)] = None,
    trace: Annotated[
        str | None, option("Phases to trace hour by hour, such as 1-4,37; see `ff plot trace`.", panel=WHERE)
    ] = None,
    keep_state: Annotated[
        bool, option("Keep the full state, so that more epochs continue.", "--keep-state", panel=WHERE)
    ] = False,
    force: Annotated[bool, option("Train anew; the earlier run stays as superseded.", "--force", panel=WHERE)] = False,
    dry_run: Annotated[
        bool, option("Show what would be trained, whether it is stored, and how long it takes.", "--dry-run")
    ] = False,
    json: JsonOption = False,
    quiet: Annotated[bool, option("No progress.", "--quiet", "-q")] = False,
) -> None:
    """Train a network, or answer at once from the store.

    The same command again never trains twice; more epochs continue; an interrupted run goes on where it stopped.
    """
    from ffcli.cli.training import resolve_train, show_plan, train_and_show
    from ffcli.running.run import Request

    asked = {
        "dataset": dataset, "data": data, "neg": neg, "pos_phase": pos_phase, "neg_phase": neg_phase,
        "unseparated": unseparated, "preset": preset, "epochs": epochs, "lr": lr, "lr_scaling": lr_scaling,
        "batch_size": batch_size, "updates_per_batch": updates_per_batch, "threshold": threshold, "hidden": hidden,
        "mask_blur": mask_blur, "seed": seed, "holdout": holdout, "precision": precision,
        "cure": cure, "warmup": warmup, "beta1": beta1, "beta2": beta2,
    }  # fmt: skip
    request = Request(
        eval_every=eval_every, device=device, threads=threads, name=name, tags=tuple(tag or ()), note=note,
        keep_state=keep_state, force=force,
    )  # fmt: skip
    plan = resolve_train(asked, request, config_file=config, balanced=balanced, trace=trace, data_dir=data_dir)
    if dry_run:
        show_plan(plan, db=db, json=json)
    else:
        train_and_show(plan, db=db, json=json, quiet=quiet)
