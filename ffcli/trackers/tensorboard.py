"""Write runs as event files of TensorBoard, one folder per run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ffcli.errors import BadOption, MissingPackage
from ffcli.files import disk_full, is_disk_full
from ffcli.trackers import RunWithEpochs, Written, metrics, moments, parameters, results, title


def write(runs: Iterable[RunWithEpochs], place: str) -> Written:
    """Write runs into folders below `place`. Event files that are there are replaced.

    Raises:
        MissingPackage: if tensorboard is not installed.
        BadOption: if the folder cannot be written.
        StorageFull: if no space is left.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackage(
            '--to tensorboard needs tensorboard, which is not installed: pip install "ffcli[tensorboard]"'
        ) from error

    written = 0
    try:
        for run, epochs in runs:
            folder = Path(place) / title(run)
            folder.mkdir(parents=True, exist_ok=True)
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            with SummaryWriter(str(folder)) as writer:
                for epoch, end in moments(run, epochs):
                    for name, value in metrics(epoch).items():
                        writer.add_scalar(name, value, epoch.epoch, walltime=end.timestamp())
                # In the folder of the run; by default it would be a subfolder with the time as its name.
                writer.add_hparams(parameters(run), results(run), run_name=".")
            written += 1
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(place) from error
        raise BadOption(
            f"{error.filename or place} cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
    return Written(written, kept=0)
