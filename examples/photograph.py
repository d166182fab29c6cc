"""Learn a dictionary from a photograph, and write it and a noisy patch beside the config that names them.

usage: python examples/photograph.py [FOLDER]           (needs: pip install -e '.[photograph]')
then:  circuitlsc run photograph/photograph.toml -o photograph-output

FOLDER, by default photograph/, gets dictionary.npy (64 x 64), x.npy (the patch that the circuit sees), clean.npy (what it
was before the noise) and photograph.toml.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np

from circuitlsc import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.model.images import _extra, camera, draw_patches, whiten

CONFIG = "photograph.toml"
SIZE = 8  # pixels a side of a patch
ATOMS = 64
NOISE = 0.9  # sd of the added noise; the patches have 1
CONTRAST = 0.9  # the patch that the circuit sees has more contrast than this share of the patches
SPARSITY = 0.4  # weight of the L1 penalty, for patches of unit variance
EPOCHS, BATCH = 5, 256
MOST_OF_SKLEARN = 2**32 - 1  # its largest seed


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


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let scikit-learn work with one thread (rounding depends on their number), and without the lasso's warning."""
    unconverged = _extra("sklearn.exceptions", "scikit-learn", "sparse coding").ConvergenceWarning
    limits = _extra("threadpoolctl", "threadpoolctl", "sparse coding").threadpool_limits
    with limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", unconverged)  # a code not quite at its minimum does no harm here
        yield


def main() -> None:
    """Write the files, and print the numbers that the config needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("photograph"), metavar="FOLDER")
    parser.add_argument("--patches", type=int, default=40_000, help="to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of patches, learning and noise (default: %(default)s)")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)

    # Sky and lawn have little to teach: learn from the quarter of the patches that has most contrast.
    patches = draw_patches(whiten(camera()), args.patches, SIZE, rng)
    contrast = patches.std(axis=1)
    patches = patches[contrast > np.quantile(contrast, 0.75)]
    patches /= patches.std()
    A = patch_dictionary(patches, ATOMS, args.seed)

    # The prior is that of these patches' codes. sigma has two parts: what the dictionary leaves unexplained of a clean
    # patch (per degree of freedom), and noise that is added below. Without it sigma would be 0.2: a posterior of many
    # narrow modes, in which the circuit (and its software twin) would need hours to go from one to the next.
    some = patches[:4000]
    s = sparse_codes(some, A)
    active = s != 0
    misfit = np.sqrt(np.sum((some - s @ A.T) ** 2) / np.sum(len(A) - active.sum(axis=1)))
    print(f"sigma = {np.hypot(misfit, NOISE):.3f}  # {misfit:.3f} unexplained, {NOISE} added")
    print(f"pi = {active.mean():.3f}  # share of active coefficients")
    print(f"lam = {1 / np.abs(s[active]).mean():.3f}  # 1 / mean size of an active coefficient")

    clean = patches[np.argsort(patches.std(axis=1), kind="stable")[int(CONTRAST * len(patches))]]
    x = clean + NOISE * rng.standard_normal(clean.shape)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("dictionary", A), ("x", x), ("clean", clean)):
        np.save(args.folder / f"{name}.npy", array)
    (args.folder / CONFIG).write_bytes(files("circuitlsc").joinpath("examples", CONFIG).read_bytes())
    print(f"dictionary.npy, x.npy, clean.npy and {CONFIG} are in {args.folder}")


if __name__ == "__main__":
    main()
