r"""Natural images: whitened patches of a photograph, and a dictionary learned from them.

.. math:: R(f) = f \, e^{-(f/f_0)^4}

Olshausen & Field, Nature 381 (1996), doi:10.1038/381607a0: the rise with f undoes the 1/f amplitude spectrum of natural
images, the fall leaves out the corners of the frequency plane. Learning needs the extra ``photograph``.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dctn, idctn

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator, check_count
from circuitlsc.io.install import how_to_install

CUTOFF = 200 / 512  # f0 in cycles per pixel: 200 cycles per picture of 512 pixels
MOST_OF_SKLEARN = 2**32 - 1  # its largest seed
SPARSITY = 0.4  # weight of the L1 penalty, for patches of unit variance
EPOCHS, BATCH = 5, 256
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
    try:
        pixels = np.array(image, dtype=float)
    except (TypeError, ValueError):
        raise InputError("image is not an array of numbers. Pass a grey-scale photograph (height, width).") from None
    if pixels.ndim != 2 or min(pixels.shape) < SMALLEST:
        raise InputError(
            f"image has shape {pixels.shape}, but a grey-scale photograph is (height, width), each at least {SMALLEST}. "
            "Average the colours of a colour image first."
        )
    if not np.all(np.isfinite(pixels)):
        raise InputError("image holds NaN or inf, but every pixel must be finite. Repair them first.")
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


def patch_dictionary(patches: Array, n_atoms: int, seed: int, *, sparsity: float = SPARSITY) -> Array:
    r"""Learn a dictionary: sparse dictionary learning in mini-batches, by scikit-learn.

    .. math:: \min_{A, s} \sum_n \tfrac12 |x_n - A s_n|^2 + \alpha |s_n|_1, \qquad |a_i| = 1

    Parameters
    ----------
    patches : array, shape (n, n_features)
        What `draw_patches` returned.
    n_atoms : int
        Columns of the dictionary; <= n.
    seed : int
        Of the first guess and of the patches' order: the same seed gives the same dictionary.
    sparsity : float
        The weight alpha; > 0.

    Returns
    -------
    array, shape (n_features, n_atoms)
        Atoms of unit norm.

    Raises
    ------
    InputError
        If scikit-learn is not installed, or there are too few patches for the atoms.
    """
    check_count("patch_dictionary: seed", seed, 0)
    learn = _extra("sklearn.decomposition", "scikit-learn", "patch_dictionary()").MiniBatchDictionaryLearning
    if patches.ndim != 2 or not 1 <= n_atoms <= len(patches):
        raise InputError(
            f"{n_atoms} atoms cannot be learned from patches of shape {patches.shape}. "
            "Pass (n, n_features) with at least as many patches as atoms."
        )
    # The first guess is n_atoms of the patches: scikit-learn's own, the principal components, is hard to get away from.
    norms = np.linalg.norm(patches, axis=1)
    usable = np.flatnonzero(norms > 1e-6 * norms.max())
    if len(usable) < n_atoms:
        raise InputError(f"only {len(usable)} of {len(patches)} patches are not uniformly 0. Pass at least {n_atoms}.")
    first = np.random.default_rng(seed).choice(usable, n_atoms, replace=False)
    learner = learn(
        n_atoms,
        alpha=sparsity,
        batch_size=BATCH,
        max_iter=EPOCHS,
        tol=0.0,  # do not stop early
        max_no_improvement=None,
        fit_algorithm="cd",
        dict_init=patches[first] / norms[first, None],
        random_state=seed if seed <= MOST_OF_SKLEARN else int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    with _repeatable():
        atoms = np.asarray(learner.fit(patches).components_, dtype=float).T
    norms = np.linalg.norm(atoms, axis=0)
    unused = int(np.sum(norms == 0))
    if unused:
        raise InputError(f"{unused} of {n_atoms} atoms were never used. Pass more patches, or ask for fewer atoms.")
    return np.asarray(atoms / norms)


def sparse_codes(patches: Array, A: Array, *, sparsity: float = SPARSITY) -> Array:
    """Code patches with a dictionary: which latents are active from the lasso, how large from least squares.

    Parameters
    ----------
    patches : array, shape (n, n_features)
    A : array, shape (n_features, n_latents)
    sparsity : float
        Weight alpha of the lasso. It takes about alpha off every coefficient of a unit-norm atom, so that the lasso's
        own sizes would make the slab too narrow: they are fitted again without the penalty.

    Returns
    -------
    array, shape (n, n_latents)
    """
    encode = _extra("sklearn.decomposition", "scikit-learn", "sparse_codes()").sparse_encode
    with _repeatable():
        s = np.array(encode(patches, A.T, algorithm="lasso_cd", alpha=sparsity), dtype=float)
    for x, code in zip(patches, s, strict=True):
        active = code != 0
        code[active] = np.linalg.lstsq(A[:, active], x, rcond=None)[0]
    return s


def _extra(module: str, package: str, caller: str) -> Any:
    """Import a module of the extra `photograph`, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"{caller} needs {package}, which is not installed. Install it with: {how_to_install(package)}"
        ) from None


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let scikit-learn work with one thread (rounding depends on their number), and without the lasso's warning."""
    unconverged = _extra("sklearn.exceptions", "scikit-learn", "sparse coding").ConvergenceWarning
    limits = _extra("threadpoolctl", "threadpoolctl", "sparse coding").threadpool_limits
    with limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", unconverged)  # a code not quite at its minimum does no harm here
        yield
