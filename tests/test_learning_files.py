"""Learned parameters in a file and back, starts, and matching."""

import numpy as np
import pytest

from circuitlsc import InputError, Laplace, SpikeSlab, bars
from circuitlsc.learning import Learned, match_atoms, overcomplete, random_weights
from circuitlsc.model.data import load_array, load_dictionary


def learned(**changes):
    A = np.random.default_rng(0).standard_normal((4, 3))
    numbers = {"pi": 0.3, "lam": 1.2, "sigma": 0.4, "pi_final": 0.31, "lam_final": 1.3, "sigma_final": 0.41}
    return Learned(**{"A": A, "A_final": A + 0.1, **numbers, "signed": True, "meta": {"seed": 3}, **changes})


def test_learned_parameters_survive_a_file(tmp_path):
    mine = learned()
    mine.save(tmp_path / "learned.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["learned.npz"]
    again = Learned.load(tmp_path / "learned.npz")
    for name in (
        "A",
        "A_final",
        "pi",
        "lam",
        "sigma",
        "u0",
        "pi_final",
        "lam_final",
        "sigma_final",
        "u0_final",
        "signed",
    ):
        np.testing.assert_array_equal(getattr(again, name), getattr(mine, name))
    assert again.meta == {"seed": 3}
    with np.load(tmp_path / "learned.npz", allow_pickle=False) as file:
        assert float(file["u0"]) == pytest.approx(-np.log(0.3) / 1.2)


def test_a_learned_dictionary_is_a_dictionary(tmp_path):
    mine = learned()
    mine.save(tmp_path / "learned.npz")
    np.testing.assert_array_equal(load_dictionary("learned.npz", tmp_path), mine.A)
    # elsewhere, several arrays stay too many; and without an A, a dictionary is not to be guessed
    with pytest.raises(
        InputError, match=r"^model\.x = .* holds the arrays \[.*\], but one is needed\. Save exactly one array\.$"
    ):
        load_array(tmp_path / "learned.npz", "model.x")
    np.savez(tmp_path / "two.npz", B=mine.A, C=mine.A)
    message = r"^model\.dictionary = .* holds the arrays \['B', 'C'\], .*\. Save exactly one array, or name it A\.$"
    with pytest.raises(InputError, match=message):
        load_dictionary("two.npz", tmp_path)
    np.savez(tmp_path / "one.npz", whatever=mine.A)
    np.testing.assert_array_equal(load_dictionary("one.npz", tmp_path), mine.A)


def test_the_learned_model():
    model = learned().model()
    assert model.prior == SpikeSlab(0.3, 1.2, True)
    assert model.sigma == 0.4
    assert learned().model(final=True).prior == SpikeSlab(0.31, 1.3, True)
    assert learned(pi=1.0).model().prior == Laplace(1.2, True)


def test_files_that_are_not_learned_parameters(tmp_path):
    with pytest.raises(InputError, match=r"^.*none\.npz does not exist\. Learn first, or give another path\.$"):
        Learned.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", A=np.eye(2))
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz"):
        message = rf"^.*{name} is not a file of learned parameters \(.*\)\. Give one that Learned\.save wrote\.$"
        with pytest.raises(InputError, match=message):
            Learned.load(tmp_path / name)


def test_atoms_are_matched_one_to_one():
    A, rng = bars(3), np.random.default_rng(0)
    order = rng.permutation(6)
    scaled = A[:, order] * np.linspace(0.5, 1.5, 6)
    match = match_atoms(A, scaled)
    np.testing.assert_array_equal(order[match.index], np.arange(6))
    np.testing.assert_allclose(match.cosine, 1)
    np.testing.assert_allclose(match.norm_ratio, np.linspace(0.5, 1.5, 6)[match.index])
    # a copy cannot stand for two atoms, but is the best for both
    poor = scaled.copy()
    poor[:, 1] = scaled[:, 0]
    match = match_atoms(A, poor)
    assert len(set(match.index)) == 6
    assert sorted(match.cosine)[0] < 0.5
    assert np.all(match.best_cosine >= match.cosine)
    assert match_atoms(A, -scaled).cosine.max() < 0.5
    np.testing.assert_allclose(match_atoms(A, -scaled, signed=True).cosine, 1)
    with pytest.raises(InputError, match=r"^match_atoms: A_true has shape \(9, 6\), A_learned \(9, 5\)\. Pass .*\.$"):
        match_atoms(A, scaled[:, :5])


def test_starts():
    weights = random_weights(50, 40, 1)
    assert weights.shape == (50, 40)
    assert weights.min() >= 0
    np.testing.assert_array_equal(weights, np.abs(random_weights(50, 40, 1, signed=True)))
    assert random_weights(50, 40, 1, signed=True).std() == pytest.approx(0.9 / 50**0.5, rel=0.1)
    np.testing.assert_allclose(np.linalg.norm(random_weights(400, 5, 1), axis=0), 0.9, rtol=0.15)
    np.testing.assert_allclose(random_weights(50, 40, 1, scale=1.8 / 50**0.5), 2 * weights)
    assert np.any(random_weights(50, 40, 2) != weights)
    assert overcomplete(64, 4) == 256
    assert overcomplete(64, 1.25) == 80
    with pytest.raises(InputError, match=r"^overcomplete: 1\.3 x 64 features is 83\.2 latents, .* such as 1\.29688\.$"):
        overcomplete(64, 1.3)
    for n_features in (3, 7, 13, 64):
        for factor in np.random.default_rng(1).uniform(0.1 / n_features, 3.0, 20):
            with pytest.raises(InputError) as refused:
                overcomplete(n_features, factor)
            advised = float(str(refused.value).rpartition(" ")[2].rstrip("."))  # which is accepted, and is the nearest
            assert overcomplete(n_features, advised) == max(1, round(factor * n_features))
    with pytest.raises(InputError, match=r"^random_weights: n_latents = 0 cannot be used\. Give an integer >= 1\.$"):
        random_weights(3, 0, 1)
