"""Read pictures of the usual formats, and datasets that are folders of pictures.

The layout of a dataset is that of torchvision's ImageFolder, `train/CLASS/PICTURE` and `test/CLASS/PICTURE`; the labels
0, 1, ... are the sorted names of the classes.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffcli.data.formats import MAX_BYTES, Images, checked
from ffcli.errors import BadData
from ffcli.text import counted, printable

FORMATS = ("PNG", "JPEG")
"""What Pillow may read."""

SUFFIXES = (".png", ".jpg", ".jpeg")

LAYOUT = "train/CLASS/*.png and test/CLASS/*.png"


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a png or jpg file as (H, W, 1 or 3); transparent pixels are white.

    Raises:
        BadData: if the file is damaged, too large, of another format, or has more than 8 bits per pixel and channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                picture = ImageOps.exif_transpose(opened)
                picture.load()
    except UnidentifiedImageError as error:
        raise BadData(f"{path} is not a png or jpg file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadData(f"{path} is too large for a picture: it has more than 89 million pixels") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise BadData(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if picture.mode.startswith(("I", "F")):
        raise BadData(f"{path} has more than 8 bits per pixel and channel, expected 8")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    found = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    found = found if found.ndim == 3 else found[..., np.newaxis]
    return found[..., :1] if bool((found == found[..., :1]).all()) else found


def read_picture_folder(path: Path) -> Images:
    """Read a dataset that is a folder of pictures of one size. It has one channel if all pictures are grey.

    Raises:
        BadData: if the layout is another, a picture cannot be read, or the sizes differ.
    """
    classes = _classes(path, "train")
    names = sorted(classes)
    if len(names) < 2:
        raise BadData(f"{path}/train has pictures of only one class, expected at least 2: {LAYOUT}")
    test = _classes(path, "test")
    if unseen := sorted(test.keys() - classes.keys()):
        raise BadData(f"{path}/test/{unseen[0]} has pictures, but {path}/train/{unseen[0]} has none")
    first = classes[names[0]][0]
    shape = read_picture(first).shape[:2]
    files = [file for split in (classes, test) for name in sorted(split) for file in split[name]]
    if (size := 3 * len(files) * shape[0] * shape[1]) > MAX_BYTES:
        raise BadData(f"{path} has {size / 1e9:.1f} GB of pixels, expected at most {MAX_BYTES / 1e9:.1f} GB")
    pixels = np.empty((len(files), *shape, 3), np.uint8)
    grey = True
    for number, file in enumerate(files):
        picture = read_picture(file)
        if picture.shape[:2] != shape:
            sizes = [" x ".join(map(str, found)) for found in (picture.shape[:2], shape)]
            raise BadData(f"{file} has {sizes[0]} pixels (height x width), {first} has {sizes[1]}: expected one size")
        grey = grey and picture.shape[2] == 1
        pixels[number] = picture
    images = pixels[..., :1] if grey else pixels
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    of_train, of_test = (
        np.repeat(np.arange(len(names)), [len(split.get(name, ())) for name in names]) for split in (classes, test)
    )
    cut = len(of_train)
    return checked(str(path), Images(images[:cut], of_train, images[cut:], of_test))


def stamp_of_folder(path: Path) -> str:
    """Return a digest of names, sizes, times and inodes of all pictures, which changes whenever the content does."""
    digest = hashlib.sha256()
    for file in _pictures(path):
        status = file.stat()
        facts = (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mtime_ns)
        digest.update(f"{file.relative_to(path)!r} {facts}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _classes(path: Path, split: str) -> dict[str, list[Path]]:
    """Return the pictures of each class that has any, by the name of the class, in order."""
    folder = path / split
    if not folder.is_dir():
        found = ", ".join(printable(name) for name in sorted(os.listdir(path))[:5]) or "nothing"
        raise BadData(f"{path} has no folder {split}: it contains {found}; expected {LAYOUT}")
    try:
        pictures = {place.name: _pictures(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    except OSError as error:
        raise BadData(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error
    filled = {name: files for name, files in pictures.items() if files}
    if not filled:
        raise BadData(f"{folder} has no pictures in {counted(len(pictures), 'folder')}: expected {LAYOUT}")
    return filled


def _pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder and its subfolders, sorted."""
    found = []
    for place, _, names in os.walk(folder, followlinks=True):
        found += [Path(place, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)
