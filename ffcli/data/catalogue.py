"""The named datasets. To add one, add its record here.

Importing this module is cheap (no numpy, no torch): the command line lists the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

SAMPLE_TRAIN, SAMPLE_TEST = 10_000, 2_000
"""Number of images in each sample, the same for every class."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A named dataset."""

    name: str
    title: str
    """The name in print."""
    torchvision: str
    """The class in `torchvision.datasets` that knows the download addresses."""
    host: str
    """The first download server: scheme and host."""
    format: Literal["idx", "idx.gz", "cifar", "emnist", "svhn"]
    """The file format; see `ffcli.data.formats.READERS`."""
    files: tuple[tuple[str, str], ...]
    """File names with digests. `idx`: MD5 of the decompressed file. The other formats: MD5 or SHA-256 of the file as it
    is published."""
    folders: tuple[str, ...]
    """Subfolders of the data folder that may contain the files; downloads go to the first."""
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    train: int
    """Number of training images."""
    test: int
    """Number of test images."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation of each channel of pixels / 255; None to compute them from the training images."""
    system: Path | None = None
    """Folder in which a package of the operating system installs the files."""
    has_sample: bool = False
    """Whether ffcli ships a sample of it."""

    @property
    def largest_file(self) -> int:
        """An upper bound on the size of each file, decompressed: all images with a byte for each label, and headers."""
        return (self.train + self.test) * (prod(self.image_shape) + 1) + 65_536


def _idx_files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[tuple[str, str], ...]:
    return (
        ("train-images-idx3-ubyte", train_images),
        ("train-labels-idx1-ubyte", train_labels),
        ("t10k-images-idx3-ubyte", test_images),
        ("t10k-labels-idx1-ubyte", test_labels),
    )


CATALOGUE: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            name="mnist",
            title="MNIST",
            torchvision="MNIST",
            host="https://ossci-datasets.s3.amazonaws.com",
            format="idx",
            files=_idx_files(
                "6bbc9ace898e44ae57da46a324031adb",
                "a25bea736e30d166cdddb491f175f624",
                "2646ac647ad5339dbf082846283269ea",
                "27ae3e4e09519cfbb04c329615203637",
            ),
            folders=("mnist", "MNIST/raw"),
            image_shape=(1, 28, 28),
            train=60_000,
            test=10_000,
            normalisation=((0.1307,), (0.3081,)),
            has_sample=True,
        ),
        Spec(
            name="fashion",
            title="Fashion-MNIST",
            torchvision="FashionMNIST",
            host="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            format="idx",
            files=_idx_files(
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "9018921c3c673c538a1fc5bad174d6f9",
                "8181f5470baa50b63fa0f6fddb340f0a",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
            folders=("fashion", "fashion-mnist", "FashionMNIST/raw"),
            image_shape=(1, 28, 28),
            train=60_000,
            test=10_000,
            normalisation=((0.28582752,), (0.35303804,)),
            system=Path("/usr/share/datasets/fashion-mnist"),
            has_sample=True,
        ),
        Spec(
            name="cifar10",
            title="CIFAR-10",
            torchvision="CIFAR10",
            host="https://www.cs.toronto.edu",
            format="cifar",
            files=(("cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),),
            folders=("cifar10", "."),
            image_shape=(3, 32, 32),
            train=50_000,
            test=10_000,
            normalisation=((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ),
        Spec(
            name="kmnist",
            title="Kuzushiji-MNIST",
            torchvision="KMNIST",
            host="http://codh.rois.ac.jp",
            format="idx.gz",
            files=(
                ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
                ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
                ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
                ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
            ),
            folders=("kmnist", "KMNIST/raw"),
            image_shape=(1, 28, 28),
            train=60_000,
            test=10_000,
        ),
        Spec(
            name="emnist-letters",
            title="EMNIST letters",
            torchvision="EMNIST",
            host="https://biometrics.nist.gov",
            format="emnist",
            files=(("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),),
            folders=("emnist", "EMNIST/raw"),
            image_shape=(1, 28, 28),
            train=124_800,
            test=20_800,
        ),
        Spec(
            name="svhn",
            title="SVHN",
            torchvision="SVHN",
            host="http://ufldl.stanford.edu",
            format="svhn",
            files=(
                ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
                ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
            ),
            folders=("svhn", "."),
            image_shape=(3, 32, 32),
            train=73_257,
            test=26_032,
        ),
    )
}
