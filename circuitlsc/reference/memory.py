r"""A sampler with a memory in software: states of a set of inputs in weights, one input at a time, many memories side by side.

.. math:: \tau\,dW = \left(-\nabla E(u; x_n)\,dt + \sqrt{2 T \tau}\,dB\right) v_n^T - \kappa W \tau\,dt, \qquad u = W \phi_n

while input n is on: K Brownian motions, of neurons, through the line that writes. With noise of weights instead,

.. math:: \tau\,dW = -\nabla E(u; x_n)\, v_n^T\, dt - \kappa W \tau\,dt + \sqrt{2 T \tau / N}\; dB, \qquad B \in R^{K \times H}

(Taniguchi et al. 2022, algorithm 1, with steps of one input; T/N, neuron noise and dual vectors v are not in the paper.) Steps
are those of Euler and Maruyama, h as in `circuitlsc.reference.sde`, with uniform noise. Within a visit nothing but the line
that is written changes, so that u is followed alone,

.. math:: u \leftarrow (1 - \kappa h)\, u + (\phi_n^T v_n)\, d, \qquad a \leftarrow (1 - \kappa h)\, a + d, \qquad
          d = -h \nabla E + \sqrt{2 T h}\, \xi

and W becomes :math:`(1 - \kappa h)^m W + a v_n^T` after m steps: the same numbers. Noise of weights has a part along
:math:`\phi_n`, which u sees, and one across, which is drawn at the end of the visit with the variance that it has by then.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, check_number, check_positive, real_array
from circuitlsc.io.compiled import compiled, side_by_side
from circuitlsc.model.dynamics import NOISES
from circuitlsc.model.features import Features
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import ORDERS
from circuitlsc.reference.replicates import LANES, Reals, _codes, _force, _Law, _seed_lanes, _uniform, kernel_law

RATE_STEP = 0.02  # h times the fastest rate: P(active) is off by less than 0.003 (`circuitlsc.reference.sde`)
LARGEST_STEP = 0.01  # in tau
SPACING = 0.2  # between draws, in tau


class SoftwareMemory:
    """Memories of one set of inputs, which run on from call to call.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (N, n_features)
        The set, in data units.
    features : Features
        Phi. All ones, (1, N), make one state for all inputs: ``"langevin"`` on a stream.
    write : array, shape (H, N), or None
        V; None is the dual of Phi, exact at every hold if the rank is N.
    hold : float
        Time of a visit, in tau.
    n_runs : int
        Memories side by side, with noise of their own.
    noise : str
        ``"neuron"`` or ``"weight"``.
    order : str
        ``"cyclic"``, or ``"random"``: another permutation of the inputs in each cycle.
    temperature, leak : float
        T of exp(-E/T), and kappa in 1/tau.
    starts : array, shape (n_runs, N, K), or None
        States to begin with, in model units; None draws them from the prior. Weights are the smallest that are nearest.
    seed : int
    rate_step, spacing : float
        Step times the fastest rate, and time between draws, in tau.

    Attributes
    ----------
    W : array, shape (n_runs, K, H)
        Weights, in model units over those of the features.
    step : float
        In tau.
    draws_per_visit : int

    Raises
    ------
    InputError
        If a number or a name is out of range, or shapes do not fit.

    Notes
    -----
    Single precision. The step makes the law of fast modes wider, by half of h times their rate.
    """

    def __init__(
        self,
        model: SparseCodingModel,
        x: ArrayLike,
        *,
        features: Features,
        write: Array | None = None,
        hold: float,
        n_runs: int = LANES,
        noise: str = "neuron",
        order: str = "cyclic",
        temperature: float = 1.0,
        leak: float = 0.0,
        starts: Array | None = None,
        seed: int = 0,
        rate_step: float = RATE_STEP,
        spacing: float = SPACING,
    ) -> None:
        for name, value in (("hold", hold), ("temperature", temperature), ("spacing", spacing)):
            check_positive("SoftwareMemory", name, value, "it must be positive")
        check_number("SoftwareMemory", "leak", leak, "it must not be negative", above=False)
        for name, count, least in (("n_runs", n_runs, 1), ("seed", seed, 0)):
            check_count(f"SoftwareMemory: {name}", count, least, "")
        for name, word, known in (("noise", noise, NOISES), ("order", order, ORDERS[1:])):
            if word not in known:
                raise InputError(f"SoftwareMemory: {name} = {word!r} is not one of {', '.join(known)}.")
        rows = np.stack([model.check_x(row) for row in np.atleast_2d(real_array("x", x))])
        V = features.dual if write is None else real_array("write", write)
        if len(rows) != features.N or V.shape != features.phi.shape:
            raise InputError(
                f"SoftwareMemory: features have shape {features.phi.shape} and write {V.shape}, but x has {len(rows)} inputs. "
                f"Give both (H, {len(rows)})."
            )
        self.model, self.features, self.hold, self.order = model, features, float(hold), order
        self._rng = np.random.default_rng([seed, 3])
        gain = np.einsum("hn,hn->n", features.phi, V)
        rate = float(np.linalg.eigvalsh(model.gram)[-1]) + model.prior.rate_at(temperature, diffusion=2.0)
        largest = min(LARGEST_STEP, rate_step / (rate * max(1.0, float(np.abs(gain).max())) + leak))
        self.draws_per_visit = max(1, round(hold / spacing))
        self._thin = math.ceil(hold / self.draws_per_visit / largest)
        self.step = hold / (self.draws_per_visit * self._thin)
        K, groups = model.n_latents, -(-n_runs // LANES)
        if starts is None:
            starts = model.prior.tempered(temperature).draw_state((n_runs, len(rows), K), self._rng)
        first = features.weights_of(np.broadcast_to(starts, (n_runs, len(rows), K)))
        self._W = np.ascontiguousarray(
            np.moveaxis(first[np.arange(groups * LANES) % n_runs].reshape(groups, LANES, K, features.H), 1, -1),
            dtype=np.float32,
        )
        self._n_runs, self._neuron = n_runs, noise == "neuron"
        if not self._neuron and not features.phi.any(axis=0).all():
            dark = int(np.flatnonzero(~features.phi.any(axis=0))[0])
            raise InputError(
                f"SoftwareMemory: all features of input {dark} are 0, and noise of weights does not reach it. Leave it out."
            )
        share = 1.0 if self._neuron else 1.0 / len(rows)
        self._moves = np.array(
            [self.step, math.sqrt(2 * temperature * share * self.step), 1 - leak * self.step], dtype=np.float32
        )
        self._law, self._gram = kernel_law(model.prior), np.ascontiguousarray(model.gram, dtype=np.float32)
        self._drive = np.asarray([model.drive(row) for row in rows], dtype=np.float32)
        self._read, self._write = (np.ascontiguousarray(m.T, dtype=np.float32) for m in (features.phi, V))
        self._gain = np.stack([gain, np.linalg.norm(features.phi, axis=0)]).astype(np.float32)
        self._random = np.empty((groups, LANES), np.uint32)
        for group in range(groups):
            key = (seed * 0x9E3779B97F4A7C15 + (group + 1) * 0xD1B54A32D192ED03) % 2**63
            _seed_lanes(key, self._random[group])

    @property
    def W(self) -> Array:
        """Weights now, (n_runs, K, H)."""
        lanes = np.moveaxis(self._W, -1, 1)
        return lanes.reshape(-1, *lanes.shape[2:])[: self._n_runs].astype(float)

    def run(self, cycles: int, threads: int | None = None) -> Reals:
        """Show every input so many times, and return states, (n_runs, N, cycles, draws_per_visit, K), in model units.

        Draws are evenly spaced, the last at the end of a visit. InputError if the simulation diverges.
        """
        groups, N, K = len(self._W), len(self._drive), self.model.n_latents
        D = self.draws_per_visit
        orders = [self._visits(cycles, N) for _ in range(groups)]
        out = np.empty((groups, cycles * N, D, K, LANES), np.float32)

        def work(group: int) -> None:
            _run_visits(
                self._law, self._gram, self._drive, self._read, self._write, self._gain, orders[group].ravel(), self._moves,
                self._neuron, self._thin, self._W[group], self._random[group], out[group],
            )  # fmt: skip

        side_by_side(work, groups, threads)
        if not np.isfinite(self._W).all():
            raise InputError(
                f"SoftwareMemory: the simulation diverged at a step of {self.step:.3g} tau. Lower rate_step, or give write "
                "vectors with Phi^T V = 1."
            )
        found = np.empty((groups, LANES, N, cycles, D, K), np.float32)
        for group, order in enumerate(orders):
            visits = out[group].reshape(cycles, N, D, K, LANES)
            for cycle, rows in enumerate(order):
                found[group][:, rows, cycle] = visits[cycle].transpose(3, 0, 1, 2)
        return found.reshape(-1, N, cycles, D, K)[: self._n_runs]

    def _visits(self, cycles: int, n: int) -> NDArray[np.int64]:
        """Return which input is on at each visit, (cycles, N)."""
        rows = np.tile(np.arange(n), (cycles, 1))
        return self._rng.permuted(rows, axis=1) if self.order == "random" else rows


@compiled(reorder=True)
def _run_visits(
    law: _Law,
    gram: Reals,
    drive: Reals,
    read: Reals,
    write: Reals,
    gain: Reals,
    order: NDArray[np.int64],
    moves: Reals,
    neuron: bool,
    thin: int,
    weights: Reals,
    random: NDArray[np.uint32],
    out: Reals,
) -> None:
    """Run one group of memories, ``weights`` (K, H, LANES), over visits of the inputs in ``order``.

    ``read`` and ``write`` are (N, H), ``gain`` phi_n^T v_n and the norm of phi_n, (2, N), ``moves`` the step, the noise of a
    step, and what a leak leaves of a weight after it.
    """
    W = LANES
    K, H = weights.shape[0], weights.shape[1]
    h, amp, keep = moves[0], moves[1], moves[2]
    zero = np.float32(0.0)
    u, s, on = np.empty((K, W), np.float32), np.empty((K, W), np.float32), np.empty((K, W), np.float32)
    written, along = np.empty((K, W), np.float32), np.empty((K, W), np.float32)
    f, y = np.empty(W, np.float32), np.empty(W, np.float32)
    across = np.empty((H, W), np.float32)
    draws = out.shape[1]
    left, square = np.float32(1.0), np.float32(0.0)
    for _ in range(thin * draws):
        square = keep * keep * square + np.float32(1.0)
        left *= keep
    spread = amp * np.float32(math.sqrt(square))
    for visit in range(len(order)):
        n = order[visit]
        slope, norm = gain[0, n], gain[1, n]
        for k in range(K):
            for w in range(W):
                u[k, w] = zero
                written[k, w] = zero
                along[k, w] = zero
            for j in range(H):
                c = read[n, j]
                if c != zero:
                    for w in range(W):
                        u[k, w] += weights[k, j, w] * c
        for it in range(1, thin * draws + 1):
            _codes(law, u, s, on)
            for k in range(K):
                _force(law, gram, drive[n], k, u, s, on, f, y)
                _uniform(random, y)
                if neuron:
                    for w in range(W):
                        d = amp * y[w] - h * f[w]
                        u[k, w] = keep * u[k, w] + slope * d
                        written[k, w] = keep * written[k, w] + d
                else:
                    for w in range(W):
                        d = -h * f[w]
                        noise = amp * y[w]
                        u[k, w] = keep * u[k, w] + slope * d + norm * noise
                        written[k, w] = keep * written[k, w] + d
                        along[k, w] = keep * along[k, w] + noise
            if it % thin == 0:
                out[visit, it // thin - 1] = u
        for k in range(K):
            if not neuron:
                for w in range(W):
                    f[w] = zero
                for j in range(H):
                    _uniform(random, across[j])
                    for w in range(W):
                        f[w] += across[j, w] * read[n, j] / norm
                for w in range(W):
                    f[w] = along[k, w] - spread * f[w]
            for j in range(H):
                c = write[n, j]
                for w in range(W):
                    weights[k, j, w] = left * weights[k, j, w] + written[k, w] * c
                if not neuron:
                    for w in range(W):
                        weights[k, j, w] += spread * across[j, w] + f[w] * read[n, j] / norm
