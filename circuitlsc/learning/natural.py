"""Natural images as a source of inputs: whitened patches of photographs, and a reader for van Hateren's files.

The paper's pictures (van Hateren and van der Schaaf 1998) cannot be shipped; three photographs of scikit-image can (CC0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.io.safe_open import read_regular, reason
from circuitlsc.learning.source import fingerprint, input_rng
from circuitlsc.model.images import _extra, draw_patches, whiten

PHOTOGRAPHS = ("camera", "chelsea", "coffee")
GREY = np.array([0.2125, 0.7154, 0.0721])  # luminance of red, green and blue (ITU-R BT.709)
HATEREN = (1024, 1536)  # height and width of van Hateren's files: big-endian 16-bit numbers
HATEREN_BORDER = 2  # pixels at their edges that hold no picture


@dataclass(frozen=True, eq=False)
class NaturalPatches:
    """Square patches of several whitened pictures, each picture as likely as its area.

    Parameters
    ----------
    images : sequence of arrays, each (height, width)
        Whitened: mean 0 and variance 1 over each picture.
    size : int
        Side of a patch in pixels: D = size^2.

    Raises
    ------
    InputError
        If there are no pictures, or one is smaller than a patch.
    """

    images: Sequence[Array]
    size: int

    def __post_init__(self) -> None:
        images = tuple(real_array("images", image) for image in self.images)
        if not images or any(image.ndim != 2 or min(image.shape) < self.size or self.size < 1 for image in images):
            raise InputError(
                f"NaturalPatches: patches of {self.size} x {self.size} pixels cannot be cut out of pictures of "
                f"{', '.join(str(image.shape) for image in images) or 'nothing'}. Give whitened pictures that are larger."
            )
        object.__setattr__(self, "images", images)

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        return self.size**2

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n patches."""
        rng = input_rng(seed, index)
        area = np.array([image.size for image in self.images], dtype=float)
        of = rng.choice(len(self.images), size=n, p=area / area.sum())
        out = np.empty((n, self.n_features))
        for k, image in enumerate(self.images):
            if (mine := np.flatnonzero(of == k)).size:
                out[mine] = draw_patches(image, len(mine), self.size, rng)
        return out

    def settings(self) -> dict[str, Any]:
        """Return what makes two sources the same."""
        return {"kind": "natural", "images": [fingerprint(image) for image in self.images], "size": self.size}


def photographs() -> tuple[Array, ...]:
    """Return scikit-image's camera, chelsea and coffee (CC0) as grey pictures (height, width), in 0 .. 1; no network is needed.

    Raises
    ------
    InputError
        If scikit-image, which has them, is missing.
    """
    data = _extra("skimage.data", "scikit-image", "natural images")
    pictures = [np.asarray(getattr(data, name)(), dtype=float) / 255 for name in PHOTOGRAPHS]
    return tuple(picture if picture.ndim == 2 else picture @ GREY for picture in pictures)


def van_hateren(path: Path | str) -> Array:
    """Read one of van Hateren's pictures (van Hateren and van der Schaaf 1998, Proc. R. Soc. B 265, 359).

    Parameters
    ----------
    path : path
        A .iml or .imc file: 1536 x 1024 big-endian numbers of 16 bits.

    Returns
    -------
    array, shape (1020, 1532)
        Intensities, without the empty border; `circuitlsc.model.images.whiten` makes them fit for `NaturalPatches`.

    Raises
    ------
    InputError
        If the file is missing, or has another size than 1536 x 1024 numbers of 16 bits.
    """
    path = Path(path)
    height, width = HATEREN
    try:
        raw = read_regular(path, 16 * height * width)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}). Give a .iml or .imc file.") from None
    if len(raw) != 2 * height * width:
        raise InputError(
            f"{path} has {len(raw)} bytes, but van Hateren's pictures have {2 * height * width} (1536 x 1024 numbers of 16 "
            "bits). Give one of his .iml or .imc files."
        )
    b = HATEREN_BORDER
    return np.frombuffer(raw, dtype=">u2").reshape(height, width)[b:-b, b:-b].astype(float)


def natural_source(text: str, *, pictures: Sequence[Array] | None = None) -> NaturalPatches:
    """Return whitened patches of photographs.

    Parameters
    ----------
    text : str
        ``"natural:8"`` is 8 x 8 pixels.
    pictures : sequence of arrays, each (height, width), or None
        Intensities, in any unit; None: `photographs`.

    Raises
    ------
    InputError
        If the text is not of this form, a picture is too small, or scikit-image is missing.
    """
    size = text.removeprefix("natural:")
    if not text.startswith("natural:") or not size.isascii() or not size.isdecimal() or not 1 <= int(size) <= 64:
        raise InputError(f'data.source = {text!r} is not natural:N with N from 1 to 64. Write "natural:8".')
    return NaturalPatches([whiten(picture) for picture in (photographs() if pictures is None else pictures)], int(size))
