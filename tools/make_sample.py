"""Make the samples of MNIST and Fashion-MNIST that ship with ffcli, from the complete sets.

    python tools/make_sample.py FOLDER

FOLDER holds `mnist/` and `fashion-mnist/` with the four idx or idx.gz files each; their digests are checked.
A sample is the first 1,000 training and 200 test images of every class, in the order of the complete set. The same
files give the same bytes. A new sample changes fingerprints, and with them the keys of the runs that used it.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffcli.data.catalogue import CATALOGUE, SAMPLE_TEST, SAMPLE_TRAIN, Spec
from ffcli.data.sources import files_here, read_files, sample_file


def main(folder: Path) -> None:
    for spec in CATALOGUE.values():
        if spec.has_sample:
            write_sample(spec, folder)


def write_sample(spec: Spec, folder: Path) -> None:
    files = files_here(spec, folder)
    if files is None:
        raise SystemExit(f"{folder} has no complete {spec.name}")
    images = read_files(spec, files)
    train = first_of_each_class(images.train_labels, SAMPLE_TRAIN)
    test = first_of_each_class(images.test_labels, SAMPLE_TEST)
    arrays = {
        "train_images": images.train_images[train, 0],
        "train_labels": images.train_labels[train].astype(np.uint8),
        "test_images": images.test_images[test, 0],
        "test_labels": images.test_labels[test].astype(np.uint8),
    }
    target = sample_file(spec)
    # np.savez_compressed takes zlib's middle level; these bytes go into every wheel.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    print(f"{target}: {target.stat().st_size:,} bytes")


def first_of_each_class(labels: NDArray[np.int64], count: int) -> NDArray[np.intp]:
    """Positions, rising, of the first `count` / K images of every class."""
    classes = int(labels.max()) + 1
    firsts = [np.flatnonzero(labels == label)[: count // classes] for label in range(classes)]
    return np.sort(np.concatenate(firsts))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
