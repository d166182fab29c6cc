"""Natural patches and van Hateren's files."""

import numpy as np
import pytest

from circuitlsc import InputError
from circuitlsc.config.learning import load_learn_config
from circuitlsc.learning import NaturalPatches, van_hateren
from circuitlsc.learning.natural import HATEREN, natural_source
from circuitlsc.model.images import whiten

CONFIG = """
[model]
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[data]
source = "natural:4"
{images}
[learning]
learn = ["A"]
inputs = 3
"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A file of the size and the byte order of van Hateren's, with noise whose spectrum falls as a photograph's."""
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.standard_normal(HATEREN), 0), 1)
    values = np.round(30_000 * (smooth - smooth.min()) / np.ptp(smooth) + 500).astype(">u2")
    path = tmp_path_factory.mktemp("hateren") / "imk00001.iml"
    path.write_bytes(values.tobytes())
    return path, values


def test_a_file_of_van_hateren_is_read_without_its_border(picture):
    path, values = picture
    read = van_hateren(path)
    assert read.shape == (1020, 1532)
    np.testing.assert_array_equal(read, values[2:-2, 2:-2])
    assert not np.array_equal(read, values.view("<u2")[2:-2, 2:-2])  # the byte order matters


def test_other_files_are_refused(tmp_path):
    (tmp_path / "short.iml").write_bytes(b"12")
    with pytest.raises(InputError, match=r"short\.iml has 2 bytes, but van Hateren's pictures have 3145728"):
        van_hateren(tmp_path / "short.iml")
    with pytest.raises(InputError, match=r"none\.iml cannot be read"):
        van_hateren(tmp_path / "none.iml")


def test_patches_are_white_and_of_their_pictures(picture):
    path, _ = picture
    image = whiten(van_hateren(path))
    source = NaturalPatches([image], 4)
    X = source.batch(0, 4000, seed=1)
    assert X.shape == (4000, 16)
    assert abs(X.mean()) < 0.1
    assert X.var() == pytest.approx(1, abs=0.1)
    windows = np.lib.stride_tricks.sliding_window_view(image, (4, 4)).reshape(-1, 16)
    for x in X[:3]:
        assert (windows == x).all(axis=1).any()
    np.testing.assert_array_equal(X, source.batch(0, 4000, seed=1))
    assert not np.array_equal(X, source.batch(1, 4000, seed=1))
    assert not np.array_equal(X, source.batch(0, 4000, seed=2))


def test_photographs_come_with_scikit_image():
    pytest.importorskip("skimage")
    source = natural_source("natural:8")
    assert source.n_features == 64
    assert len(source.images) == 3


@pytest.mark.parametrize("text", ["natural:0", "natural:", "natural:8x8", "natural:65", "patches:8"])
def test_other_names_are_refused(text):
    with pytest.raises(InputError, match=r'is not natural:N with N from 1 to 64\. Write "natural:8"\.'):
        natural_source(text, pictures=[np.zeros((9, 9))])


def test_a_config_names_pictures_of_its_own(picture, tmp_path):
    path, _ = picture
    (tmp_path / "config.toml").write_text(CONFIG.format(images=f'images = ["{path}"]'))
    learner = load_learn_config(tmp_path / "config.toml", "software", anywhere=True).software()
    expected = NaturalPatches([whiten(van_hateren(path))], 4)
    np.testing.assert_array_equal(learner._source.batch(0, 5, 0), expected.batch(0, 5, 0))
    assert np.min(learner.A0) < 0 < np.max(learner.A0)  # as the patches are, though codes are nonnegative


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ('images = "a.iml"', "is not a list of"),
        ("images = []", "is not a list of"),
        ('images = ["a.png"]', r"has 'a\.png'"),
        ('images = ["a.iml"]', "cannot be read"),
        ('images = ["a.npy"]', r"a\.npy"),
    ],
)
def test_wrong_pictures_are_refused(tmp_path, images, says):
    (tmp_path / "config.toml").write_text(CONFIG.format(images=images))
    with pytest.raises(InputError, match=says):
        load_learn_config(tmp_path / "config.toml", "software")


def test_pictures_need_patches(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((5, 3)))
    text = CONFIG.format(images='images = ["a.iml"]').replace("natural:4", "rows.npy")
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InputError, match="has no patches"):
        load_learn_config(tmp_path / "config.toml", "software")
