"""Write the weights of a trained network for other programs: safetensors, or a program of torch.export."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from ffcli.errors import BadOption
from ffcli.files import is_disk_full, replacing
from ffcli.inference.trained import Trained
from ffcli.records import config_json


def write_weights(trained: Trained, file: Path, *, force: bool) -> None:
    """Write the weights of a network in the format of the file's suffix, atomically.

    Args:
        trained: the network.
        file: `.safetensors`: tensors `layers.0.weight` (units, inputs), `layers.0.bias` (units,) and so on; what else
            a program needs is in the metadata. `.pt2`: a program for `torch.export.load` that takes images
            (N, C, H, W) uint8 and returns labels (N,) and goodness (N, layers, K), without ffcli.
        force: whether to replace an existing file.

    Raises:
        BadOption: if the name has another suffix, the file exists, or cannot be written.
        StorageFull: if no space is left.
    """
    check_file(file, force=force)
    content = WRITERS[file.suffix.lower()](trained)
    try:
        with replacing(file) as part:
            part.write_bytes(content)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadOption(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from error


def check_file(file: Path, *, force: bool) -> None:
    """Check the name of a file before its content is computed. Raises BadOption."""
    if file.suffix.lower() not in WRITERS:
        raise BadOption(f"{file}: the name must end in {' or '.join(WRITERS)}")
    if file.is_dir():
        raise BadOption(f"{file} is a folder: give the name of a file")
    if not file.absolute().parent.is_dir():
        raise BadOption(f"{file}: there is no folder {file.parent}")
    if file.exists() and not force:
        raise BadOption(f"{file} exists: --force replaces it")


def metadata(trained: Trained) -> dict[str, str]:
    """Return what a program needs beside the weights, and where they come from, as JSON values by name."""
    network, config = trained.network, trained.run.config
    values = {
        "format": "ffcli",
        "run": trained.run.id,
        "epoch": trained.epoch,
        "image_shape": trained.image_shape,
        "classes": network.classes,
        "mean": trained.mean,
        "std": trained.std,
        "amplitude": network.amplitude,
        "objective": network.objective.name,
        "precision": config.precision,
        "config": config_json(config),
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _safetensors(trained: Trained) -> bytes:
    from safetensors.numpy import save

    tensors = {name: tensor.cpu().numpy() for name, tensor in trained.network.state_dict().items()}
    return save(tensors, metadata=metadata(trained))


def _exported_program(trained: Trained) -> bytes:
    import torch

    example = torch.zeros(2, *trained.image_shape, dtype=torch.uint8)
    dynamic = {"images": {0: torch.export.Dim("N", min=1, max=2**31 - 1)}}
    program = torch.export.export(trained.network, (example,), dynamic_shapes=dynamic, strict=False)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"ffcli.json": json.dumps(metadata(trained))})
    return buffer.getvalue()


WRITERS: dict[str, Callable[[Trained], bytes]] = {".safetensors": _safetensors, ".pt2": _exported_program}
"""The writer of each format, by the suffix of the file."""
