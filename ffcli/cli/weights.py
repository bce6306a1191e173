"""`ff weights`: write a trained network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, RunArgument


def weights(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write: .safetensors or .pt2.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Write the network of a run: its weights as safetensors, or as a program that torch loads without ffcli.

    A .pt2 file is read by torch.export.load. Its module takes images (N, C, H, W), uint8, and returns labels (N,) and
    goodness (N, layers, K).
    """
    from ffcli.cli.console import message, print_json
    from ffcli.data.datasets import data_folder
    from ffcli.inference.trained import load_trained
    from ffcli.inference.weights import check_file, write_weights
    from ffcli.store import runs
    from ffcli.store.database import open_to_read

    check_file(file, force=force)
    with open_to_read(db) as store:
        trained = load_trained(store, runs.get(store, run), data_folder(data_dir, create=True))
    write_weights(trained, file, force=force)
    if json:
        print_json({"id": trained.run.id, "epoch": trained.epoch, "file": str(file), "bytes": file.stat().st_size})
    else:
        message(f"written: {file} ({trained.title} after epoch {trained.epoch})")
