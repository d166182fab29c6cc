r"""Natural images: whitened patches of a photograph, and a dictionary learned from them.

.. math:: R(f) = f \, e^{-(f/f_0)^4}

Olshausen & Field, Nature 381 (1996), doi:10.1038/381607a0: the rise with f undoes the 1/f amplitude spectrum of natural
images, the fall keeps the corners of the frequency plane out. Learning needs the extra ``circuitlsc[photograph]``.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dctn, idctn

from circuitlsc.errors import InputError
from circuitlsc.model import Array

CUTOFF = 200 / 512  # f0 in cycles per pixel: 200 cycles per picture at 512 pixels
SPARSITY = 1.0  # default weight of the L1 penalty, for patches of unit variance


def _extra(module: str, package: str, purpose: str) -> Any:
    """Import a module of the extra `photograph`, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"{purpose} needs {package}, which is not installed. Run pip install 'circuitlsc[photograph]'."
        ) from None


def camera() -> Array:
    """Return scikit-image's photograph of a man with a camera (512 x 512, CC0), in 0 .. 1; it is part of the package."""
    data = _extra("skimage.data", "scikit-image", "camera()")
    return np.asarray(data.camera(), dtype=float) / 255


def whiten(image: ArrayLike, *, cutoff: float = CUTOFF) -> Array:
    """Flatten the spectrum of a photograph with the filter R(f), up to about half the cutoff's octave.

    Parameters
    ----------
    image : array, shape (height, width)
        Intensities, in any unit.
    cutoff : float
        f0, in cycles per pixel; > 0.

    Returns
    -------
    array, shape (height, width)
        Mean 0, variance 1.

    Notes
    -----
    The filter acts on the cosine transform: as if the image went on as its own mirror image, so that the edges of the
    photograph leave no lines. Contrast still varies from place to place, as it does in nature.
    """
    try:
        pixels = np.array(image, dtype=float)
    except (TypeError, ValueError):
        raise InputError("image is not an array of numbers. Pass a grey-scale photograph (height, width).") from None
    if pixels.ndim != 2 or min(pixels.shape) < 8:
        raise InputError(
            f"image has shape {pixels.shape}, but a grey-scale photograph is (height, width), each at least 8. "
            "Average the colours of a colour image first."
        )
    if not np.all(np.isfinite(pixels)):
        raise InputError("image holds NaN or inf. Every pixel must be finite.")
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff = {cutoff!r} is no frequency. Give cycles per pixel, for example {CUTOFF:.3g}.")
    height, width = pixels.shape
    f = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))  # cycles per pixel
    white = np.asarray(idctn(f * np.exp(-((f / cutoff) ** 4)) * dctn(pixels)))
    sd = float(white.std())
    if sd <= 1e-12 * max(1.0, float(np.abs(pixels).max())):
        raise InputError("image is uniform: nothing is left of it after whitening. Pass a photograph.")
    return (white - white.mean()) / sd


def draw_patches(image: Array, n: int, size: int, rng: np.random.Generator) -> Array:
    """Cut square patches out of an image, at places drawn uniformly.

    Parameters
    ----------
    image : array, shape (height, width)
        What `whiten` returned; the patches have its mean and variance.
    n, size : int
        How many patches, and their side in pixels.
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (n, size * size)
        One patch a row, its pixels row by row.
    """
    if n < 1 or not 1 <= size <= min(image.shape):
        raise InputError(f"n = {n!r}, size = {size!r}, but the image is {image.shape}. Give n >= 1 and a smaller size.")
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    rows, columns = (rng.integers(0, places, n) for places in windows.shape[:2])
    return np.asarray(windows[rows, columns].reshape(n, size * size))


def patch_dictionary(patches: Array, n_atoms: int, seed: int, *, sparsity: float = SPARSITY) -> Array:
    r"""Learn a dictionary from patches: sparse dictionary learning by scikit-learn, in mini-batches.

    .. math:: \min_{A, s} \sum_n \tfrac12 |x_n - A s_n|^2 + \alpha |s_n|_1, \qquad |a_i| = 1

    Parameters
    ----------
    patches : array, shape (n, n_features)
        What `draw_patches` returned.
    n_atoms : int
        Columns of the dictionary.
    seed : int
        Of the first guess and of the order of the patches; the same seed gives the same dictionary.
    sparsity : float
        The weight alpha.

    Returns
    -------
    array, shape (n_features, n_atoms)
        Atoms of unit norm.
    """
    if patches.ndim != 2 or not 1 <= n_atoms <= len(patches):
        raise InputError(
            f"n_atoms = {n_atoms!r} cannot be learned from patches of shape {patches.shape}. "
            "Pass (n, n_features) with more patches than atoms."
        )
    decomposition = _extra("sklearn.decomposition", "scikit-learn", "patch_dictionary()")
    learner = decomposition.MiniBatchDictionaryLearning(
        n_components=n_atoms, alpha=sparsity, batch_size=256, max_iter=20, fit_algorithm="cd", random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mini-batch's lasso need not converge
        atoms = np.asarray(learner.fit(patches).components_, dtype=float).T
    norms = np.linalg.norm(atoms, axis=0)
    if np.any(norms == 0):
        raise InputError(f"{int(np.sum(norms == 0))} of {n_atoms} atoms were never used. Pass more patches.")
    return np.asarray(atoms / norms)


def sparse_codes(patches: Array, A: Array, *, sparsity: float = SPARSITY) -> Array:
    """Return the codes s (n, n_atoms) that minimise the cost of `patch_dictionary` for a given dictionary."""
    decomposition = _extra("sklearn.decomposition", "scikit-learn", "sparse_codes()")
    return np.asarray(decomposition.sparse_encode(patches, A.T, algorithm="lasso_cd", alpha=sparsity, max_iter=10_000))
