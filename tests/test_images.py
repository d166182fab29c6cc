"""Whitening, patches, and a dictionary learned from them."""

import importlib
import itertools
import os
import re
import socket
import sys

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from circuitlsc import InputError
from circuitlsc.model.images import camera, draw_patches, whiten
from examples.photograph import patch_dictionary, sparse_codes

REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"


def refused(message):
    return pytest.raises(InputError, match=rf"^{re.escape(message)}$")


@pytest.fixture(scope="module")
def photograph_extra():
    """Skip what needs the extra where it is missing; fail if the environment promised it."""
    for module in ("skimage", "sklearn"):
        (importlib.import_module if REQUIRED else pytest.importorskip)(module)


# --- whitening ---


def frequencies(height, width):
    """Cycles per pixel of each coefficient of the cosine transform."""
    return np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))


@pytest.fixture(scope="module", params=[(256, 256), (160, 300)], ids=["square", "oblong"])
def natural(request):
    """Return an image with the 1/f amplitude spectrum of natural images."""
    f = frequencies(*request.param)
    f[0, 0] = np.inf
    return 3 + idctn(np.random.default_rng(4).standard_normal(request.param) / f)


def radial_spectrum(image):
    """Return the mean power in six rings from 0.02 to 0.25 cycles per pixel."""
    power = np.abs(np.fft.fft2(image)) ** 2
    f = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1]))
    edges = np.geomspace(0.02, 0.25, 7)
    return np.array([power[(f >= low) & (f < high)].mean() for low, high in itertools.pairwise(edges)])


def test_whitening_flattens_the_spectrum_of_a_natural_image(natural):
    before, after = (radial_spectrum(image) for image in (natural, whiten(natural)))
    assert before.max() / before.min() > 30
    assert after.max() / after.min() < 2, after


def test_whitening_flattens_the_spectrum_of_the_photograph(photograph_extra):
    before, after = (radial_spectrum(image) for image in (camera(), whiten(camera())))
    assert before.max() / before.min() > 100
    assert after.max() / after.min() < 5, after


def test_whitening_is_the_filter_of_olshausen_and_field(natural):
    """R(f) = f exp(-(f/200)^4) with f in cycles per 512 pixels, whatever the size of the picture."""
    f = 512 * frequencies(*natural.shape)
    gain = (dctn(whiten(natural)) / dctn(natural)).ravel()[1:]
    expected = (f * np.exp(-((f / 200) ** 4))).ravel()[1:]
    np.testing.assert_allclose(gain / gain[0], expected / expected[0], atol=1e-6)


def test_whitened_image_has_unit_variance_whatever_the_unit(natural):
    white = whiten(natural)
    assert white.shape == natural.shape
    assert white.mean() == pytest.approx(0, abs=1e-12)
    assert white.var() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(whiten(255 * natural - 40), white, atol=1e-9)


def test_the_edges_of_the_picture_leave_no_lines():
    """A slope jumps at the edges of a picture that repeats; mirrored, it only bends."""
    slope = np.linspace(0, 1, 128)[:, None].repeat(128, axis=1)
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    repeated = np.fft.ifft2(f * np.exp(-((f / 0.39) ** 4)) * np.fft.fft2(slope)).real
    mirrored = idctn(frequencies(128, 128) * np.exp(-((frequencies(128, 128) / 0.39) ** 4)) * dctn(slope))
    np.testing.assert_allclose(whiten(slope, cutoff=0.39), (mirrored - mirrored.mean()) / mirrored.std())
    assert np.abs(mirrored).max() < 0.1 * np.abs(repeated).max()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.zeros((16, 16, 3)),
            "image has shape (16, 16, 3), but a grey-scale photograph is (height, width), each at least 8. "
            "Average the colours of a colour image first.",
        ),
        (
            np.zeros((16, 7)),
            "image has shape (16, 7), but a grey-scale photograph is (height, width), each at least 8. "
            "Average the colours of a colour image first.",
        ),
        (
            np.full((8, 8), np.nan),
            "image[0, 0] = nan, but every entry must be finite (64 are not). Remove NaN and inf first.",
        ),
        (
            np.full((8, 9), 0.3),
            "image has the same intensity everywhere: whitening leaves nothing. Pass a photograph.",
        ),
        ([["a"]], "image has dtype <U1, but real numbers are needed. Pass an array of floats."),
    ],
)
def test_no_photograph(image, message):
    with refused(message):
        whiten(image)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan])
def test_bad_cutoff(natural, cutoff):
    with refused(f"cutoff = {cutoff!r} is no frequency. Give cycles per pixel > 0, for example 0.391."):
        whiten(natural, cutoff=cutoff)


# --- patches ---


def test_patches_are_pieces_of_the_image():
    image = np.arange(30.0 * 20).reshape(30, 20)
    for patch in draw_patches(image, 50, 4, np.random.default_rng(0)):
        row, column = divmod(int(patch[0]), 20)
        np.testing.assert_array_equal(patch.reshape(4, 4), image[row : row + 4, column : column + 4])


def test_patches_come_from_everywhere_with_unit_variance(natural):
    white = whiten(natural)
    patches = draw_patches(white, 5_000, 8, np.random.default_rng(1))
    assert patches.shape == (5_000, 64)
    assert patches.var() == pytest.approx(1, abs=0.05)
    corners = draw_patches(np.arange(9.0).reshape(3, 3), 200, 2, np.random.default_rng(2))[:, 0]
    assert set(corners) == {0, 1, 3, 4}


def test_patches_repeat_with_their_generator(natural):
    first, again, other = (draw_patches(natural, 20, 8, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("n", "size"), [(0, 8), (10, 0), (10, 161)])
def test_impossible_patches(n, size):
    with refused(
        f"{n} patches of {size} x {size} pixels cannot be cut out of an image of (160, 300). "
        "Give n >= 1 and a size from 1 to the image's."
    ):
        draw_patches(np.zeros((160, 300)), n, size, np.random.default_rng(0))


# --- the dictionary ---


@pytest.fixture(scope="module")
def planted():
    """Return patches made of eight known atoms, few at a time, and the atoms."""
    rng = np.random.default_rng(7)
    A = np.linalg.qr(rng.standard_normal((16, 8)))[0]
    s = rng.laplace(size=(4_000, 8)) * (rng.random((4_000, 8)) < 0.2)
    return s @ A.T + 0.02 * rng.standard_normal((4_000, 16)), A, s


def test_dictionary_learning_finds_planted_atoms(photograph_extra, planted):
    patches, A, _ = planted
    learned = patch_dictionary(patches, 8, 0)
    assert learned.shape == A.shape
    np.testing.assert_allclose(np.linalg.norm(learned, axis=0), 1)

    def found(atoms):
        return int(np.sum(np.abs(atoms.T @ A).max(axis=0) > 0.95))

    # two atoms may stay mixed up: the cost has local minima
    assert found(learned) >= 6
    principal = np.linalg.svd(patches, full_matrices=False)[2][:8].T
    assert found(principal) < 3  # the same plane, but not the atoms


def test_dictionary_follows_from_the_seed(photograph_extra, planted):
    first, again, other = (patch_dictionary(planted[0][:500], 8, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_codes_have_no_shrinkage(photograph_extra, planted):
    """The lasso alone would take 0.1 off every coefficient."""
    _, A, s = planted
    found = sparse_codes(s[:50] @ A.T, A, sparsity=0.1)
    large = np.abs(s[:50]) > 0.1
    np.testing.assert_array_equal(found != 0, large)
    small = s[:50] * ~large  # left out of the code, but orthogonal to the rest
    np.testing.assert_allclose(found, s[:50] - small, atol=1e-9)


def test_patches_of_nothing(photograph_extra):
    patches = np.zeros((20, 16))
    patches[:7] = 1
    with refused("only 7 of 20 patches are not uniformly 0. Pass at least 8."):
        patch_dictionary(patches, 8, 0)


def test_too_few_patches(photograph_extra):
    with refused(
        "8 atoms cannot be learned from patches of shape (7, 16). "
        "Pass (n, n_features) with at least as many patches as atoms."
    ):
        patch_dictionary(np.ones((7, 16)), 8, 0)


# --- the extra ---


def test_the_photograph_needs_no_network(photograph_extra, monkeypatch):
    def no_network(*_):
        raise AssertionError("camera() asked for the network")

    monkeypatch.setattr(socket, "socket", no_network)
    assert camera().shape == (512, 512)
    assert 0 <= camera().min() < camera().max() <= 1


@pytest.mark.parametrize(
    ("module", "call", "name", "package"),
    [
        ("skimage.data", camera, "camera()", "scikit-image"),
        ("sklearn.decomposition", lambda: patch_dictionary(np.eye(9), 2, 0), "patch_dictionary()", "scikit-learn"),
        ("sklearn.decomposition", lambda: sparse_codes(np.eye(9), np.eye(9)), "sparse_codes()", "scikit-learn"),
    ],
)
def test_without_the_extra(monkeypatch, module, call, name, package):
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with refused(
        f"{name} needs {package}, which is not installed. Install it with: {sys.executable} -m pip install {package}"
    ):
        call()
