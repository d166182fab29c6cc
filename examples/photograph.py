"""Learn a dictionary from a photograph, and write it and a noisy patch for examples/photograph.toml.

usage: python examples/photograph.py [FOLDER]           (needs: pip install 'circuitlsc[photograph]')
then:  circuitlsc run examples/photograph.toml -o photo

FOLDER, by default examples/photograph/, gets dictionary.npy (64 x 64), x.npy (what the circuit sees) and clean.npy (what
the patch was before noise was added).
"""

import argparse
from pathlib import Path

import numpy as np

from circuitlsc.images import camera, draw_patches, patch_dictionary, sparse_codes, whiten

SIZE = 8  # pixels a side of a patch
ATOMS = 64
NOISE = 1.2  # sd of the added noise; the whitened photograph has 1
CONTRAST = 0.9  # the patch to look at has more contrast than this share of the patches with structure


def main() -> None:
    """Write the files, and print the numbers that the config needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).with_suffix(""), metavar="FOLDER")
    parser.add_argument("--patches", type=int, default=40_000, help="to learn from (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of patches, learning and noise (default: %(default)s)")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)

    # Half of this photograph is sky, which has nothing to teach: learn from the patches with more contrast than most.
    patches = draw_patches(whiten(camera()), args.patches, SIZE, rng)
    contrast = patches.std(axis=1)
    patches = patches[contrast > np.median(contrast)]
    A = patch_dictionary(patches, ATOMS, args.seed)

    # The prior is that of the codes of these patches, and sigma has two parts: what the dictionary cannot explain of a
    # clean patch (corrected for the coefficients fitted to it), and the noise that is added below. Without added noise
    # (sigma = 0.3) the posterior has so many well separated modes that no circuit of any make would visit them in minutes.
    s = sparse_codes(patches[:4000], A)
    active = s != 0
    misfit = np.sum((patches[:4000] - s @ A.T) ** 2) / np.sum(len(A) - active.sum(axis=1))
    print(f"sigma = {np.sqrt(misfit + NOISE**2):.3f}  # {np.sqrt(misfit):.3f} of misfit, {NOISE} of added noise")
    print(f"pi = {active.mean():.3f}")
    print(f"lam = {1 / np.abs(s[active]).mean():.3f}")

    clean = patches[np.argsort(patches.std(axis=1), kind="stable")[int(CONTRAST * len(patches))]]
    x = clean + NOISE * rng.standard_normal(clean.shape)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("dictionary", A), ("x", x), ("clean", clean)):
        np.save(args.folder / f"{name}.npy", array)
    print(f"dictionary.npy, x.npy and clean.npy are in {args.folder}")


if __name__ == "__main__":
    main()
