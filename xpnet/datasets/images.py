"""PNG images, and how a picture of a digit is made to look like those of MNIST.

MNIST's digits are white on black, scaled to fit 20 x 20 pixels, and placed in 28 x 28 by their
centre of mass. Source: the description that came with MNIST (LeCun,
Cortes and Burges). Pillow, which is optional, decodes and scales.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..types import NumpyArray
from .unpack import MAX_BYTES, check_size

__all__ = ["Digit", "is_png", "mnist_digit", "read_png"]


SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 28
BOX = 20
MIDDLE = 14.5
INK = 26
"""What is brighter than this, a tenth of white, counts as ink."""


class Digit(NamedTuple):
    """A digit as MNIST has it, (28, 28) uint8, and what was done to the picture."""

    pixels: NumpyArray
    done: str


def is_png(path: Path) -> bool:
    """Whether the file starts as every PNG does. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read_png(path: Path, max_bytes: int = MAX_BYTES) -> NumpyArray:
    """The image in grey levels (height, width) uint8; what is transparent becomes white.

    Raises DataError for a damaged file, UsageError where Pillow is missing, and OSError.
    """
    image_module = pillow()
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as: it would unpack to gigabytes
            with image_module.open(io.BytesIO(content), formats=["PNG"]) as image:
                width, height = image.size
                check_size(f"{path}: the image", 4 * width * height, max_bytes)
                image.load()
                return grey(image_module, image)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Warning) as error:
        raise damaged(path, error) from error
    except Exception as error:  # of Pillow's own, which is no subclass of these
        if type(error).__module__.startswith("PIL") or isinstance(error, ArithmeticError):
            raise damaged(path, error) from error
        raise


def pillow() -> Any:
    """Pillow's module of images."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError("reading images takes Pillow: pip install 'xpnet[image]'") from error
    return Image


def damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: no PNG image that can be used ({error}): save it anew")


def grey(image_module: Any, image: Any) -> NumpyArray:
    """``image`` on a white ground, in grey levels."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        levels = np.asarray(image).astype(np.float64) / 257
        return np.rint(levels).clip(0, 255).astype(np.uint8)
    colours = image.convert("RGBA")
    ground = image_module.new("RGBA", colours.size, "white")
    ground.alpha_composite(colours)
    return np.asarray(ground.convert("L"))


def mnist_digit(picture: NumpyArray) -> Digit:
    """A picture (height, width) uint8 of one digit, dark on light or light on dark, as MNIST's.

    One of 28 x 28 that is white on black already stays as it is. In others the ground, which is
    the median of the border, becomes black and the strongest ink white; the box around the ink
    is scaled to fit 20 x 20 and placed by its centre of mass. Raises DataError where there is
    no ink.
    """
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    ground = float(np.median(border))
    on_light = ground > 127
    if picture.shape == (SIDE, SIDE) and not on_light:
        return Digit(picture, "as it is")
    ink = np.maximum((ground - picture) if on_light else (picture - ground), 0.0)
    if ink.max() <= INK:
        raise DataError("the image is blank: there is no digit in it")
    ink = np.rint(ink * (255 / ink.max())).astype(np.uint8)

    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = fit(box)
    done = (
        f"{'inverted, ' if on_light else ''}the {box.shape[1]} x {box.shape[0]} box around "
        f"the digit scaled to {scaled.shape[1]} x {scaled.shape[0]}, centred by mass"
    )
    return Digit(place(scaled), done)


def fit(box: NumpyArray) -> NumpyArray:
    """``box`` scaled, with smooth edges, so that its longer side is 20 pixels."""
    height, width = box.shape
    factor = BOX / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return box
    image_module = pillow()
    image = image_module.fromarray(box)
    return np.asarray(image.resize(size, image_module.Resampling.LANCZOS))


def place(scaled: NumpyArray) -> NumpyArray:
    """``scaled`` in 28 x 28 black, its centre of mass where there is room for that.

    In MNIST the centre lies within the pixel right below the middle of the image, 14 to 15 from
    the edges: 14.5 on average, measured on the test images.
    """
    mass = scaled.astype(np.float64)
    start = []
    for axis in (0, 1):
        n = scaled.shape[axis]
        centre = (mass.sum(axis=1 - axis) * (np.arange(n) + 0.5)).sum() / mass.sum()
        start.append(min(max(round(MIDDLE - centre), 0), SIDE - n))
    top, left = start
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return digit
