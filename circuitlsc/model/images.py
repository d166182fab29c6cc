r"""Natural images: whitened patches of a photograph.

.. math:: R(f) = f \, e^{-(f/f_0)^4}

Olshausen & Field, Nature 381 (1996), doi:10.1038/381607a0: the rise with f undoes the 1/f amplitude spectrum of natural
images, the fall leaves out the corners of the frequency plane. The photograph needs the extra ``photograph``.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dctn, idctn

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator, real_array
from circuitlsc.io.install import how_to_install

CUTOFF = 200 / 512  # f0 in cycles per pixel: 200 cycles per picture of 512 pixels
SMALLEST = 8  # pixels a side: below this a photograph has no spectrum to speak of


def camera() -> Array:
    """Return scikit-image's photograph of a man with a camera (512 x 512, CC0), in 0 .. 1; no network is needed."""
    data = _extra("skimage.data", "scikit-image", "camera()")
    return np.asarray(data.camera(), dtype=float) / 255


def whiten(image: ArrayLike, *, cutoff: float = CUTOFF) -> Array:
    """Flatten the spectrum of a photograph with the filter R(f).

    Parameters
    ----------
    image : array, shape (height, width)
        Intensities, in any unit.
    cutoff : float
        f0, in cycles per pixel; > 0.

    Returns
    -------
    array, shape (height, width)
        Mean 0, variance 1 over the picture; the contrast still varies from place to place, as it does in nature.

    Raises
    ------
    InputError
        If the image is no grey-scale photograph.

    Notes
    -----
    The filter acts on the cosine transform: as if the picture went on as its own mirror image, so that its edges leave
    no lines in it. The fall costs 16 % of the amplitude at 0.25 cycles per pixel, and 93 % at 0.5.
    """
    pixels = real_array("image", image)
    if pixels.ndim != 2 or min(pixels.shape) < SMALLEST:
        raise InputError(
            f"image has shape {pixels.shape}, but a grey-scale photograph is (height, width), each at least {SMALLEST}. "
            "Average the colours of a colour image first."
        )
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff = {cutoff!r} is no frequency. Give cycles per pixel > 0, for example {CUTOFF:.3g}.")
    height, width = pixels.shape
    f = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))
    white = np.asarray(idctn(f * np.exp(-((f / cutoff) ** 4)) * dctn(pixels)))
    sd = float(white.std())
    if sd <= 1e-12 * float(np.abs(pixels).max()):
        raise InputError("image has the same intensity everywhere: whitening leaves nothing. Pass a photograph.")
    return np.asarray((white - white.mean()) / sd)


def draw_patches(image: Array, n: int, size: int, rng: np.random.Generator | int) -> Array:
    """Cut square patches out of an image, at places drawn uniformly.

    Parameters
    ----------
    image : array, shape (height, width)
        What `whiten` returned; the patches share its mean and variance.
    n, size : int
        How many patches, and their side in pixels.
    rng : numpy.random.Generator or int
        Or the seed of one.

    Returns
    -------
    array, shape (n, size * size)
        One patch a row, its pixels row by row.
    """
    if n < 1 or not 1 <= size <= min(image.shape):
        raise InputError(
            f"{n} patches of {size} x {size} pixels cannot be cut out of an image of {image.shape}. "
            "Give n >= 1 and a size from 1 to the image's."
        )
    rng = as_generator("draw_patches: rng", rng)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    rows, columns = (rng.integers(0, places, n) for places in windows.shape[:2])
    return np.asarray(windows[rows, columns].reshape(n, size * size))


def _extra(module: str, package: str, caller: str) -> Any:
    """Import a module of the extra `photograph`, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"{caller} needs {package}, which is not installed. Install it with: {how_to_install(package)}"
        ) from None
