"""The laws of a memory with linear forces against Lyapunov equations of all its weights, and closed forms of its modes."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from circuitlsc import Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel
from circuitlsc.model.features import Features, features_of
from circuitlsc.model.weight_noise import weight_noise_profile
from circuitlsc.reference.exact import gaussian_posterior
from circuitlsc.reference.linear_memory import linear_virial, memory_posterior, stream_moments

EXACT = 1e-10
RNG = np.random.default_rng(0)
MODEL = SparseCodingModel(RNG.standard_normal((3, 2)), Gaussian(1.3), 0.8)
X = RNG.standard_normal((4, 3))
L = MODEL.gram + np.eye(2) * MODEL.prior.stiffness
GAUSS = Features(RNG.standard_normal((6, 4)) / np.sqrt(6))
FEW = Features(RNG.standard_normal((3, 4)))
ORTHOGONAL = features_of("orthogonal", X)
RELU = features_of("relu:16", X)


def lyapunov(features, T=1.0, leak=0.0):
    """Mean and covariance of U from the equation of all K H weights at once, input by input; noise of each weight."""
    phi, K = features.phi, len(L)
    drift = np.kron(phi @ phi.T, L) + leak * np.eye(K * features.H)
    Q = np.eye(len(drift))
    if not leak:  # weights along no input's features diffuse for ever: leave them out
        Q = np.kron(features.span, np.eye(K))
    small = Q.T @ drift @ Q
    C = Q @ solve_continuous_lyapunov(small, 2 * T * np.eye(len(small))) @ Q.T
    mean = Q @ np.linalg.solve(small, Q.T @ (MODEL.drives(X).T @ phi.T).ravel(order="F"))
    J = np.kron(phi.T, np.eye(K))
    return (J @ mean).reshape(4, K), (J @ C @ J.T).reshape(4, K, 4, K)


def own(cov):
    """Return the covariance of each input's state, (N, K, K)."""
    return np.einsum("ninj->nij", cov)


def posterior():
    found = [gaussian_posterior(MODEL, x) for x in X]
    return np.array([m for m, _ in found]), np.array([c for _, c in found])


def close(found, wanted):
    return max(np.abs(a - b).max() for a, b in zip(found, wanted, strict=True)) < EXACT


@pytest.mark.parametrize("features", [GAUSS, ORTHOGONAL, RELU], ids=["gauss", "orthogonal", "relu"])
def test_theorem_1(features):
    """As many features as inputs: the posterior of each, and no input knows of another; with fewer it is another law."""
    found = memory_posterior(MODEL, X, features)
    assert close(found, lyapunov(features))
    assert close((found[0], own(found[1])), posterior())
    others = found[1].copy()
    for n in range(4):
        others[n, :, n] = 0
    assert np.abs(others).max() < EXACT
    assert not close(memory_posterior(MODEL, X, features, temperature=1.1), found)


@pytest.mark.parametrize("T", [1.0, 0.7])
def test_fewer_features_than_inputs_sample_the_posterior_on_what_they_span(T):
    assert FEW.rank == 3
    mean, cov = memory_posterior(MODEL, X, FEW, temperature=T)
    assert close((mean, cov), lyapunov(FEW, T))
    m, C = posterior()  # conditioned on Phi_perp U = 0, as a Gaussian is
    m, C = m.ravel(), T * np.kron(np.eye(4), C[0])
    J = np.kron(np.linalg.svd(FEW.phi)[2][3:], np.eye(2))
    gain = C @ J.T @ np.linalg.inv(J @ C @ J.T)
    assert close((mean.ravel(), cov.reshape(8, 8)), (m - gain @ J @ m, C - gain @ J @ C))
    assert np.abs(own(cov) - T * posterior()[1]).max() > 0.01


def test_leak_is_a_gaussian_prior():
    for features, leak in ((GAUSS, 0.1), (RELU, 0.01), (FEW, 0.1)):
        found = memory_posterior(MODEL, X, features, temperature=0.7, leak=leak)
        assert close(found, lyapunov(features, 0.7, leak))
    leak = 0.1
    precision = np.kron(np.eye(4), L) + leak * np.kron(np.linalg.inv(GAUSS.kernel), np.eye(2))
    assert (
        np.abs(memory_posterior(MODEL, X, GAUSS, leak=leak)[1].reshape(8, 8) - np.linalg.inv(precision)).max() < EXACT
    )
    plain = precision - leak * np.kron(np.linalg.inv(GAUSS.kernel), np.eye(2)) + leak * np.eye(8)  # without the kernel
    assert np.abs(memory_posterior(MODEL, X, GAUSS, leak=leak)[1].reshape(8, 8) - np.linalg.inv(plain)).max() > 1e-3


def test_virial():
    """T K rank for what is to be sampled; it tells of features that are missing, and of a temperature."""
    for features, rank in ((GAUSS, 4), (RELU, 4), (FEW, 3)):
        mean, cov = memory_posterior(MODEL, X, features, temperature=0.7)
        assert linear_virial(MODEL, X, mean, own(cov)) == pytest.approx(0.7 * 2 * rank, abs=EXACT)


@pytest.mark.parametrize("hold", [0.05, 1.0, 30.0])
@pytest.mark.parametrize(("features", "write"), [(GAUSS, None), (RELU, None), (ORTHOGONAL, ORTHOGONAL.phi)])
def test_a_stream_with_noise_of_neurons_is_exact_at_every_hold(features, write, hold):
    found = stream_moments(MODEL, X, features, hold, write=write, temperature=0.7)
    mean, cov = posterior()
    assert close((found.mean, found.cov), (mean[:, None], 0.7 * cov[:, None]))
    for p in range(3):
        virial = linear_virial(MODEL, X, found.mean[:, p], found.cov[:, p])
        assert virial == pytest.approx(0.7 * 2 * 4, abs=EXACT)


def test_a_stream_without_dual_vectors_or_with_too_few_features_is_not():
    cov = posterior()[1]
    for features, write in ((GAUSS, GAUSS.phi), (FEW, None)):
        for hold in (0.05, 1.0):
            found = stream_moments(MODEL, X, features, hold, write=write)
            assert np.abs(found.cov / cov[0] - 1).max() > 0.1
    few = stream_moments(MODEL, X, FEW, 1e-4)  # one input's visit changes little: all at once, restricted
    assert np.abs(few.cov - own(memory_posterior(MODEL, X, FEW)[1])[:, None]).max() < 1e-3


def test_leak_in_a_stream_acts_while_an_input_is_away():
    """One-hot features: each mode decays by itself, with noise and force in its visit alone."""
    hold, leak, T, N = 1.3, 0.05, 0.7, 4
    found = stream_moments(MODEL, X, Features(np.eye(4)), hold, leak=leak, temperature=T, at=(0.0, 1.0))
    rates, axes = np.linalg.eigh(L)
    a, away = rates + leak, np.exp(-leak * (N - 1) * hold)
    stay = np.exp(-a * hold)
    var = T / a * (1 - stay**2) / (1 - (away * stay) ** 2)  # at the visit's end
    mean = MODEL.drives(X) @ axes / a * (1 - stay) / (1 - away * stay)
    assert close((found.mean[:, 1], found.mean[:, 0]), (mean @ axes.T, away * mean @ axes.T))
    assert np.abs(found.cov[:, 1] - axes * var @ axes.T).max() < EXACT
    assert np.abs(found.cov[:, 0] - axes * (var * away**2) @ axes.T).max() < EXACT


def test_a_streams_leak_as_hold_goes_to_zero():
    leak, N = 0.05, 4
    weight = stream_moments(MODEL, X, GAUSS, 1e-4, write=GAUSS.phi, noise="weight", leak=leak, at=(0.5,))
    mean, cov = memory_posterior(MODEL, X, GAUSS, leak=N * leak)
    assert max(np.abs(weight.mean[:, 0] - mean).max(), np.abs(weight.cov[:, 0] - own(cov)).max()) < 1e-3
    neuron = stream_moments(MODEL, X, GAUSS, 1e-4, leak=leak, at=(0.5,))
    assert np.abs(neuron.cov[:, 0] - np.linalg.inv(L + N * leak * np.eye(2))).max() < 1e-3
    assert np.abs(neuron.cov[:, 0] - own(cov)).max() > 1e-2


@pytest.mark.parametrize("features", [ORTHOGONAL, Features(np.eye(4))], ids=["orthogonal", "one-hot"])
@pytest.mark.parametrize("hold", [0.05, 1.0, 10.0])
def test_noise_of_weights_is_too_wide_at_the_start_of_a_visit_and_too_narrow_at_its_end(features, hold):
    at = np.linspace(0, 1, 5)
    found = stream_moments(MODEL, X, features, hold, write=features.phi, noise="weight", temperature=0.7, at=at)
    rates, axes = np.linalg.eigh(L)
    var = 0.7 * np.array([weight_noise_profile(a, hold, 4, at) / a for a in rates]).T
    assert np.abs(found.cov - np.einsum("ik,pk,jk->pij", axes, var, axes)).max() < EXACT
    assert np.abs(found.mean - posterior()[0][:, None]).max() < EXACT
    y = rates[-1] * hold
    assert weight_noise_profile(rates[-1], hold, 4) - 1 == pytest.approx(0.75 * y, rel=0.4 * y)
    assert weight_noise_profile(rates[-1], hold, 4, 1.0) < 1


@pytest.mark.parametrize("features", [RELU, GAUSS], ids=["relu", "gauss"])
def test_noise_of_weights_is_right_as_hold_goes_to_zero_and_its_virial_at_every_hold(features):
    nodes, weights = np.polynomial.legendre.leggauss(24)
    options = {"write": features.phi, "noise": "weight", "at": (nodes + 1) / 2}
    errors = []
    for hold in (1e-3, 2e-3):
        found = stream_moments(MODEL, X, features, hold, **options)
        errors.append(np.abs(found.cov - posterior()[1][:, None]).max())
    assert errors[0] < 2e-3
    assert errors[1] / errors[0] == pytest.approx(2, rel=0.02)
    hot = stream_moments(MODEL, X, features, 1e-3, **options, temperature=4.0)  # what T in place of T/N gives
    assert np.abs(hot.cov / 4 - posterior()[1][:, None]).max() < 2e-3
    found = stream_moments(MODEL, X, features, 1.0, **options)
    assert np.abs(found.cov - posterior()[1][:, None]).max() > 0.05
    each = [linear_virial(MODEL, X, found.mean[:, p], found.cov[:, p]) for p in range(24)]
    assert weights @ each / 2 == pytest.approx(2 * 4, abs=EXACT)


def test_noise_of_weights_written_by_dual_vectors_has_the_kernel_in_its_covariance():
    """Weight noise belongs to the features themselves: by dual vectors, state n gets T K_nn, at any hold however short."""
    found = stream_moments(MODEL, X, GAUSS, 1e-4, noise="weight", at=(0.5,))
    wanted = np.diag(GAUSS.kernel)[:, None, None] * posterior()[1]
    assert np.abs(found.cov[:, 0] - wanted).max() < 1e-3
    assert np.abs(found.cov[:, 0] - posterior()[1]).max() > 0.05


def test_what_cannot_be():
    with pytest.raises(ReferenceRefusedError, match="memory_posterior: the prior is Laplace"):
        memory_posterior(SparseCodingModel(np.eye(3), Laplace(1.0), 0.5), X, GAUSS)
    with pytest.raises(InputError, match="x has 3 inputs, and features have 4"):
        stream_moments(MODEL, X[:3], GAUSS, 1.0)
    with pytest.raises(InputError, match="drift away"):
        stream_moments(MODEL, X, GAUSS, 1.0, write=-GAUSS.phi)
    with pytest.raises(InputError, match="shares of a visit"):
        stream_moments(MODEL, X, GAUSS, 1.0, at=(1.5,))
    with pytest.raises(InputError, match="write has shape"):
        stream_moments(MODEL, X, GAUSS, 1.0, write=np.eye(4))
    with pytest.raises(InputError, match="one of neuron, weight"):
        stream_moments(MODEL, X, GAUSS, 1.0, noise="none")
    with pytest.raises(InputError, match="share of a visit"):
        weight_noise_profile(1.0, 1.0, 4, [0.5, 2.0])
