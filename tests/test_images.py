"""Whitening, patches, and a dictionary learned from them."""

import re
import sys

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from circuitlsc import InputError
from circuitlsc.images import camera, draw_patches, patch_dictionary, sparse_codes, whiten


def refused(message):
    return pytest.raises(InputError, match=rf"^{re.escape(message)}$")


def frequencies(height, width):
    """Cycles per pixel of each coefficient of the cosine transform."""
    return np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))


def radial_spectrum(image):
    """Return mean power in six rings from 0.02 to 0.25 cycles per pixel."""
    f, power = frequencies(*image.shape), dctn(image, norm="ortho") ** 2
    edges = np.geomspace(0.02, 0.25, 7)
    return np.array([power[(f >= low) & (f < high)].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)])


@pytest.fixture(scope="module", params=[(256, 256), (160, 300)], ids=["square", "oblong"])
def natural(request):
    """An image with the 1/f amplitude spectrum of natural images."""
    f = frequencies(*request.param)
    f[0, 0] = np.inf
    return 3 + idctn(np.random.default_rng(4).standard_normal(request.param) / f)


def test_whitening_flattens_a_natural_spectrum(natural):
    white = radial_spectrum(whiten(natural))
    ratio = white / white.mean()
    assert ratio.min() > 0.75, ratio
    assert ratio.max() < 1.25, ratio
    before = radial_spectrum(natural)
    assert before[0] / before[-1] > 30  # what there was to flatten


def test_whitening_is_the_filter_of_olshausen_and_field(natural):
    """Against R(f) in cycles per picture of 512 pixels, on single waves."""
    height, width = natural.shape
    gain = {}
    for k in (10, 40, 70):
        wave = np.cos(np.pi * k * (np.arange(width) + 0.5) / width)[None, :].repeat(height, axis=0)
        noise = np.random.default_rng(0).standard_normal(natural.shape)
        white, base = whiten(wave + 1e-6 * noise), whiten(wave + 1e-6 * noise + 1e-3 * natural)
        assert white.shape == base.shape == natural.shape
        # the variance is normalised, so compare the wave with the natural part of the same picture
        rest = natural - natural.mean()
        f = k / (2 * width) * 512
        gain[k] = np.sum(dctn(base)[0, k]) / np.sum(dctn(wave + 1e-3 * rest)[0, k]) / (f * np.exp(-((f / 200) ** 4)))
        assert gain[k] > 0


def test_whitened_image_has_unit_variance_in_any_unit(natural):
    white = whiten(natural)
    assert white.shape == natural.shape
    assert white.mean() == pytest.approx(0, abs=1e-12)
    assert white.var() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(whiten(255 * natural - 40), white, atol=1e-9)
