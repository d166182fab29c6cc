"""Learn a dictionary from a photograph, and write it and a noisy patch for examples/photograph.toml.

usage: python examples/photograph.py [FOLDER]           (needs: pip install 'circuitlsc[photograph]')
then:  circuitlsc run examples/photograph.toml -o photo

FOLDER, by default examples/photograph/, gets dictionary.npy (64 x 64), x.npy (the patch that the circuit sees) and
clean.npy (what it was before the noise).
"""

import argparse
from pathlib import Path

import numpy as np

from circuitlsc.model.images import camera, draw_patches, patch_dictionary, sparse_codes, whiten

SIZE = 8  # pixels a side of a patch
ATOMS = 64
NOISE = 0.9  # sd of the added noise; the patches have 1
CONTRAST = 0.9  # the patch that the circuit sees has more contrast than this share of the patches


def main() -> None:
    """Write the files, and print the numbers that the config needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).with_suffix(""), metavar="FOLDER")
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
    print(f"dictionary.npy, x.npy and clean.npy are in {args.folder}")


if __name__ == "__main__":
    main()
