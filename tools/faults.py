"""Break the code on purpose, and see that a named test notices: the suite's power, measured.

usage: faults.py [NAME ...]      all of them if none is named (`./test.sh --nightly` does)

Each fault is made in a copy of the tree. Its test must pass without it, and fail with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "circuitlsc",
    "tests",
    "tools",
    "netlists",
    "examples",
    "notebooks",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "README.md",
)


@dataclass(frozen=True)
class Fault:
    """One line of a file, what it is turned into, and the test that notices."""

    name: str
    file: str
    right: str
    wrong: str
    test: str


FAULTS = (
    # the model and its priors
    Fault("gradient of the likelihood has the wrong sign", "model/sparse_coding.py", "(r @ self.A) / self.variance +", "-(r @ self.A) / self.variance +", "test_model.py::test_gradient_is_that_of_the_energy[spike-slab-0.0]"),
    Fault("inhibition by sigma, not its square", "model/sparse_coding.py", "(np.abs(A.T) @ np.abs(A))) / self.variance", "(np.abs(A.T) @ np.abs(A))) / self.sigma", "test_exact.py::test_one_latent_is_the_quadrature_of_its_energy[spike-slab-x0]"),
    Fault("drive without sigma squared", "model/sparse_coding.py", "self.check_x(x) / self.variance)", "self.check_x(x))", "test_exact.py::test_one_latent_is_the_quadrature_of_its_energy[spike-slab-x0]"),
    Fault("tempered model keeps sigma", "model/sparse_coding.py", "self.sigma * math.sqrt(temperature))", "self.sigma)", "test_model.py::test_tempered_model_is_the_energy_over_the_temperature[spike-slab-0.4]"),
    Fault("threshold of natural against decimal logarithm", "model/priors.py", "return -math.log(self.pi) / self.lam", "return -math.log10(self.pi) / self.lam", "test_model.py::test_spike_and_slab_code_and_activity[False]"),
    Fault("LCA's threshold without sigma squared", "model/lca.py", "Laplace(prior.lam * model.sigma**2, prior.signed)", "Laplace(prior.lam, prior.signed)", "test_systems.py::test_lca_is_rozells_equation[gram-True-True]"),
    # the circuit in transistors
    Fault("integrals that failed have no weight", "reference/exact.py", "_UNKNOWN = 1e-2", "_UNKNOWN = 1e9", "test_exact.py::test_nearly_dependent_atoms_are_right_or_refused"),
    Fault("inputs with the wrong sign", "circuit/transistor/cells/input.py", "return \"n\" if b > 0 else \"p\"", "return \"p\" if b > 0 else \"n\"", "test_transistor_cells.py::test_entries_of_both_signs_meet_in_a_node"),
    Fault("input without its line's units", "circuit/transistor/cells/input.py", "max(EXACT, CLOSE / abs(b)), STEADY_UNITS[kind])", "max(EXACT, CLOSE / abs(b)), 2)", "test_transistor_cells.py::test_inputs_of_both_signs_are_made_of_bias_currents"),
    Fault("negative entries copy s with its sign", "circuit/transistor/crossbar.py", "-1: ((\"ns\", \"n\"), (\"pm\", \"p\"))", "-1: ((\"ps\", \"p\"), (\"nm\", \"n\"))", "test_transistor_power.py::test_tables_of_a_chip_are_what_its_transistors_do"),
    Fault("one diode of a splitter twice as wide", "circuit/transistor/cells/splitter.py", "Mos(\"dn\", \"n\", \"vn\", \"vn\", \"vr\", *diode)", "Mos(\"dn\", \"n\", \"vn\", \"vn\", \"vr\", 2 * diode[0], diode[1])", "test_transistor_cells.py::test_splitter_halves_have_a_constant_product"),
    Fault("sign pair the other way round", "circuit/transistor/cells/neuron.py", "Use(\"p0\", pair(), (\"oa\", \"ob\", \"p0\", \"n0\", \"t0\"))", "Use(\"p0\", pair(), (\"ob\", \"oa\", \"p0\", \"n0\", \"t0\"))", "test_transistor_cells.py::test_threshold_and_gate_are_their_numpy_forms[nonnegative]"),
    Fault("lines at rest are codes", "circuit/transistor/silicon.py", "return np.where(np.abs(s) > self.sizes.width, s, 0.0)", "return np.asarray(s)", "test_transistor_level.py::test_what_a_line_carries_at_rest_is_no_code"),
    Fault("errors of devices are all alike", "circuit/transistor/tables.py", "alike, size = chip.matched, len(sizes.weights)", "alike, size = True, len(sizes.weights)", "test_transistor_chips.py::test_neurons_of_a_chip_differ_and_a_seed_repeats_them"),
    Fault("the last trim is kept, better or not", "circuit/transistor/trim.py", "best = [min(pair, key=lambda one: one[0]) for", "best = [pair[1] for", "test_transistor_chips.py::test_a_trim_is_kept_if_it_is_measured_to_be_better[-1.0-False]"),
    # cells and circuits
    Fault("crossbar transposed", "circuit/cells/crossbar.py", "cell.VCCS(f\"{j}_{i}\", 0, outs[j], ins[i], 0, number(g[j, i]))", "cell.VCCS(f\"{j}_{i}\", 0, outs[j], ins[i], 0, number(g.T[j, i] if g.shape[0] == g.shape[1] else 1.1 * g[j, i]))", "test_cells.py::test_crossbar"),
    Fault("gate offset in the twin alone", "circuit/cells/gate.py", "return offset / self.hardware.scaling.volt, gain,", "return -offset / self.hardware.scaling.volt, gain,", "test_device_cells.py::test_gate[spike-slab-offset-False]"),
    Fault("derivative of the gate with the wrong sign", "circuit/cells/gate.py", "{\"u\": -(factor * bend + e * steep),", "{\"u\": -(factor * bend - e * steep),", "test_cells.py::test_partials_are_the_slopes[spike-slab]"),
    Fault("momentum's noise without friction", "circuit/systems.py", "strength=float(np.sqrt(friction)))", "strength=1.0)", "test_systems.py::test_underdamped_is_two_first_order_equations[gram-spike-slab]"),
    Fault("drift current ten per cent too large", "planning/scaling.py", "return self.c_int * self.volt / self.tau", "return 1.1 * self.c_int * self.volt / self.tau", "test_scaling.py::test_units_of_the_drift_and_of_the_noise"),
    Fault("step eight times too long", "planning/stepping.py", "LARGEST_STEP = 0.05", "LARGEST_STEP = 0.4", "test_stepping.py::test_automatic_width_and_step_follow_their_rules[small-slab]"),
    Fault("width five times too large", "planning/stepping.py", "LARGEST_WIDTH = 0.05", "LARGEST_WIDTH = 0.25", "test_stepping.py::test_automatic_width_and_step_follow_their_rules[small-slab]"),
    # noise, transients, chains
    Fault("noise without the 2 of 2 T", "simulator/ngspice/noise.py", "np.sqrt(2 * temperature * step", "np.sqrt(temperature * step", "test_engine.py::test_increments_have_variance_2_t_h_and_no_correlation"),
    Fault("temperature not in the noise", "simulator/ngspice/noise.py", "np.sqrt(2 * temperature * step", "np.sqrt(2 * step", "test_engine.py::test_increments_have_variance_2_t_h_and_no_correlation"),
    Fault("all chains have one noise", "simulator/ngspice/noise.py", "SeedSequence([seed, chain, ", "SeedSequence([seed, 0, ", "test_engine.py::test_increments_depend_on_seed_chain_and_source_alone"),
    Fault("the bridge bends too much", "simulator/ngspice/noise.py", "(self._size / 2.0 ** (k / 2) / 2)", "(self._size / 2.0 ** (k / 2))", "test_device.py::test_half_the_step_follows_the_same_path"),
    Fault("a circuit at half the step rounds its steps for itself", "sampling/circuit.py", "(round(t / (step * 2**self.halvings)) * 2**self.halvings for t", "(round(t / step) for t", "test_sampler.py::test_a_circuit_at_half_the_step_keeps_the_same_times[150.017]"),
    Fault("points off the grid are taken", "simulator/ngspice/transient.py", "if len(lost):", "if len(lost) > len(rows):", "test_faults.py::test_one_circuit_of_a_sweep_fails"),
    Fault("samples that are not finite are taken", "simulator/ngspice/transient.py", "if len(bad):", "if len(bad) > u.size:", "test_engine.py::test_values_are_looked_at_before_they_count"),
    Fault("a chunk of a resumed chain has the first one's noise", "simulator/ngspice/transient.py", "task_paths(task, state.steps)", "task_paths(task, 0)", "test_resume.py::test_what_is_left_of_a_chain_goes_on_to_the_same_bits[gram]"),
    Fault("a sample too early", "simulator/task.py", "index = np.arange(first, first + n) % self.steps_per_row + 1 - self.n_warmup", "index = np.arange(first, first + n) % self.steps_per_row - self.n_warmup", "test_dynamics.py::test_the_step_divides_hold"),
    Fault("stale cache: the temperature is not in the key", "simulator/task.py", "given = {f.name: getattr(self, f.name) for", "given = {f.name: getattr(self, f.name) if f.name != \"temperature\" else 1.0 for", "test_executors.py::test_the_key_holds_all_that_the_samples_depend_on[temperature]"),
    Fault("rows of inputs are not in the cache's key", "simulator/task.py", "digest.update(rows.tobytes())", "pass", "test_executors.py::test_the_key_holds_all_that_the_samples_depend_on[rows]"),
    Fault("checksums of a chain are not looked at", "simulator/journal.py", "return hashlib.blake2b(data, digest_size=16).hexdigest()", "return \"0\" * 32", "test_journal.py::test_what_was_written_is_read"),
    Fault("an input is on one step too long", "model/stream.py", "-(-k // steps) - 1", "-(-(k - 1) // steps) - 1", "test_dynamics.py::test_held_rows_change_within_one_step"),
    Fault("what a simulator wants of a circuit is not in the cache's key", "simulator/store.py", "return f\"{what}, {hashlib.sha256(contents).hexdigest()}\" if contents else what", "return what", "test_toy_simulator.py::test_its_chains_are_kept_and_taken_up_again"),
    Fault("two layers share a definition that differs", "circuit/lowering.py", "if str(definition) == str(defined[name]):", "if name in defined:", "test_two_layers.py::test_moments_of_both_layers_are_exact"),
    Fault("a broken loop extrapolates backwards", "planning/extrapolation.py", "2.0 + MADE_UP, -1.0, -MADE_UP", "1.0 + MADE_UP, 0.0, -MADE_UP", "test_loop.py::test_variance_factor_is_of_second_order_and_knows_when_a_mode_grows"),
    Fault("a foreign file in a chain's folder is trusted", "simulator/store.py", "if file.name not in FILES or not", "if file.name in FILES and not", "test_private_folders.py::test_a_module_in_a_chains_folder"),
    Fault("heads that are solved once in another order", "simulator/ngspice/transient.py", "np.tile(fixed, (n + 1, 1))", "np.tile(fixed[::-1], (n + 1, 1))", "test_variational_circuit.py::test_the_encoder_of_one_input_is_solved_once[product-ideal]"),
    # references and the verdict
    Fault("active where |u| is above half the threshold", "model/sparse_coding.py", "np.abs(u) > self.prior.threshold if", "np.abs(u) > self.prior.threshold / 2 if", "test_model.py::test_spike_and_slab_code_and_activity[False]"),
    Fault("Gibbs forgets the odds of the spike", "reference/gibbs.py", "log_w = log_odds + _HALF_LOG_2PI", "log_w = _HALF_LOG_2PI", "test_gibbs.py::test_one_latent_is_the_closed_form[x0-spike-slab]"),
    Fault("slice interval is not drawn anew", "reference/slice.py", "left = -width * rng.random()", "left = 0.0", "test_slice.py::test_under_a_laplace_prior_it_is_gibbs_sampling[False]"),
    Fault("noise of a memory is written by other gains", "circuit/cells/memory.py", "return np.asarray(gain * (v[..., self.places[\"v\"]] + second) / capacitors)", "return np.asarray(v[..., self.places[\"v\"]] / capacitors)", "test_memory_device.py::test_responses_are_derivatives_of_the_twin[relu:8]"),
    Fault("the leak of a memory acts while its input is on alone", "studies/small_signal.py", "total += inputs * cell.leak_rate / 2", "total += cell.leak_rate / 2", "test_memory_device.py::test_first_order_of_a_linear_memory[model0-part0]"),
    Fault("offsets of write multipliers of other inputs are forgotten", "studies/small_signal.py", "(phi[:, row] * v.sum(axis=1))", "(phi[:, row] * v[:, row])", "test_memory_device.py::test_first_order_of_a_linear_memory[model1-part1]"),
    Fault("an op-amp that settles has another's definition", "circuit/lowering.py", "_rename(definition, own)  # one that calls another of another name is another one", "pass", "test_memory_device.py::test_op_amps_of_lines_that_settle_have_definitions_of_their_own"),
    Fault("a leak's prior without the kernel", "reference/linear_memory.py", "precision = L[:, None, None] * (span @ span.T) + leak * np.eye(len(span))", "precision = (L[:, None, None] + leak) * (span @ span.T)", "test_linear_memory.py::test_leak_is_a_gaussian_prior"),
    Fault("noise of weights is not divided by the inputs", "reference/linear_memory.py", "else np.eye(r) / N", "else np.eye(r)", "test_linear_memory.py::test_noise_of_weights_is_too_wide_at_the_start_of_a_visit_and_too_narrow_at_its_end[1.0-one-hot]"),
    Fault("Metropolis forgets the way back", "learning/autoencoder.py", "(np.sum(back**2, (-1, -2)) - np.sum(noise**2, (-1, -2)))", "np.zeros(gain.shape)", "test_autoencoder.py::test_amortised_steps_sample_the_posterior_or_its_restriction[features0]"),
    Fault("features learn from codes as if they all were on", "learning/autoencoder.py", "by_phi * (phi > 0) / len(x)", "by_phi / len(x)", "test_autoencoder.py::test_gradients_of_encoders_are_differences"),
    Fault("noise of weights across what is read is that of one step", "reference/memory.py", "spread = amp * np.float32(math.sqrt(square))", "spread = amp", "test_memory_software.py::test_noise_of_weights_has_the_covariance_that_it_should[weight-0.0]"),
    Fault("limits of many inputs are those of one", "validation/memory_compare.py", "return max(1.0, float(together[order[first]]))", "return 1.0", "test_memory_compare.py::test_limits_are_widened_to_what_a_share_of_correct_memories_exceed"),
    Fault("the virial of inputs on average", "validation/memory_compare.py", "total = total + _by_visit(of, powers).mean(2)", "total = total + _by_visit(of, powers).mean(2) / len(of.x)", "test_memory_compare.py::test_wrong_memories_disagree_with_what_gives_them_away"),
    Fault("enumeration counts signs twice", "reference/exact.py", "math.log(pi * lam / 2 if signed else pi * lam)", "math.log(pi * lam)", "test_exact.py::test_one_latent_is_the_quadrature_of_its_energy[spike-slab-signed-x0]"),
    Fault("replicates mix too fast", "reference/replicates.py", "h, momentum = step / slower", "h, momentum = 2 * step / slower", "test_replicates.py::test_the_force_is_that_of_the_energy[spike-slab]"),
    Fault("the verdict takes the allowance off nothing", "validation/run_errors.py", "return (np.abs(self.d) - allowance) / self.side", "return (np.abs(self.d) - 10 * allowance) / self.side", "test_verdict_rates.py::test_wrong_samplers_disagree"),
    Fault("a far error is no disagreement", "validation/advice.py", "if excess[worst] > judged.c:", "if excess[worst] > 3 * judged.c:", "test_compare.py::test_p_value_and_verdict_say_the_same"),
    Fault("agrees without errors", "validation/advice.py", "reach = np.abs(judged.d) + judged.c * judged.wide", "reach = np.abs(judged.d)", "test_compare.py::test_a_short_run_is_inconclusive_and_says_how_long_would_do"),
    Fault("standard errors of the sd four times too small", "reference/statistics.py", "np.divide(sd_mcse, 2 * sd,", "np.divide(sd_mcse, 8 * sd,", "test_statistics.py::test_mcse_of_the_sd_has_the_autocorrelation_of_the_squares"),
    Fault("paired differences against themselves", "validation/paired_difference.py", "lambda new, old: new.astype(float) - old, a0))", "lambda new, old: old.astype(float) - new, a0))", "test_budget.py::test_paired_difference_by_hand"),
    Fault("rows of a variational stream judged by averages alone", "validation/law_stream.py", "squares + d**2", "squares + 0 * d**2", "test_law_stream.py::test_a_wrong_circuit_disagrees[shifted]"),
    Fault("a variational circuit calibrated by true codes", "validation/calibration.py", "own = calibrate(model, s_law,", "own = calibrate(model, s_true,", "test_circuit_calibration.py::test_a_variational_circuit_is_judged_by_its_law_and_its_bias_is_told"),
    Fault("a comparator's offset raises its threshold in the law of the parts", "studies/device_law.py", "kappa - above, kappa - below", "kappa + above, kappa - below", "test_device_law.py::test_predictions_hold"),
    Fault("an AC coupling lets all 1/f noise pass", "circuit/cells/noise.py", "((rate + f) * (rate + w) * (f + w))", "((rate + f) * (rate + w) * w)", "test_rules.py::test_flicker_by_its_sections"),
    Fault("half the step is the step itself", "validation/half_step.py", "((sampler, 1), (half, 2))", "((sampler, 1), (sampler, 1))", "test_half_step.py::test_a_step_that_is_too_long_is_told_and_the_one_that_is_given_does"),
    # learning
    Fault("learning of sigma against 1", "learning/kernel.py", "(power / (n * D) - sigma**2)", "(power / (n * D) - 1.0)", "test_learning_kernel.py::test_the_kernel_is_the_plain_step[all-False-float32-serial]"),
    Fault("threshold learns without sigma squared", "learning/kernel.py", "rates.u0 * push / (n * sigma**2)", "rates.u0 * push / n", "test_learning_kernel.py::test_the_kernel_is_the_plain_step[all-False-float32-serial]"),
    Fault("a state is lost while its input is away", "learning/learner.py", "self._kept[self._shown] = self.w.u", "pass", "test_learning_memory.py::test_states_wait_while_others_are_on"),
    Fault("all of a memory's noise after the force", "learning/kernel.py", "w.numbers[4] = 0.5 * w.numbers[2]", "w.numbers[4] = 0.0 * w.numbers[2]", "test_learning_memory.py::test_half_of_the_noise_before_the_force_samples_the_posterior_with_long_steps"),
    Fault("an input of a memory is shown twice in a batch", "learning/memory.py", ".permutation(size)[place * n : (place + 1) * n]", ".integers(size, size=n)", "test_learning_memory.py::test_every_input_is_visited_as_often_as_the_others_and_none_twice_at_once"),
    # files, decks, configs
    Fault("a user's folder is overwritten", "io/output.py", "if folder.exists() or folder.is_symlink():", "if folder.is_symlink():", "test_cli.py::test_an_output_folder_that_exists"),
    Fault("a user's file is overwritten by a deck", "io/output.py", "if path.is_symlink() or not ours:", "if path.is_symlink():", "test_user_files.py::test_build_replaces_nothing_but_a_deck_of_ours"),
    Fault("ngspice's seed is that of another run", "simulator/ngspice/deck.py", "return seed + 1", "return 1 + seed // 2 * 2", "test_seeds.py::test_ngspice_gets_a_c_int_of_every_seed"),
    Fault("a config may read anywhere", "config/table.py", "if not inside and not self.anywhere:", "if not inside and self.anywhere:", "test_untrusted.py::test_a_config_reads_only_its_own_folder[dictionary-../secret.csv]"),
    # variational circuits
    Fault("weights forget the law that was drawn from", "validation/law.py", "log_joint(model, sampler.x, s) - law.log_density(s).sum(1)", "log_joint(model, sampler.x, s)", "test_law_verdict.py::test_weighted_samples_are_those_of_the_posterior"),
    Fault("samples of an input are those of the one before", "studies/sampler_comparison.py", "draws.part(row * each, (row + 1) * each)", "draws.part((row - 1) * each, row * each)", "test_compare_samplers.py::test_errors_are_those_of_the_laws"),
    Fault("a crossing is the first one", "studies/convergence.py", "last = len(x) - 1 - np.argmax(above[..., ::-1], axis=-1)", "last = np.argmax(~above, axis=-1) - 1", "test_convergence.py::test_where_two_errors_cross"),
    Fault("a speed forgets what is left of a law", "studies/convergence.py", "left = mean(aim) - mean(floor)", "left = mean(aim)", "test_compare_samplers.py::test_speed_is_that_of_the_noise"),
    Fault("what is even forgets no faster", "validation/law.py", "rho = lag**2 if even else max(lag, lag**2)", "rho = max(lag, lag**2)", "test_compare_samplers.py::test_what_is_read_more_often_than_it_forgets"),
)  # fmt: skip


def run(tree: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a tree."""
    env = {**os.environ, "PYTHONPATH": str(tree), "CIRCUITLSC_REQUIRE_NGSPICE": "1"}
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *(f"tests/{t}" for t in tests),
    ]
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)


def copy(tree: Path) -> None:
    """Copy what tests need."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)


def caught(fault: Fault) -> str:
    """Return the test that failed with the fault; nothing if none did."""
    with tempfile.TemporaryDirectory(prefix="faults-") as root:
        tree = Path(root)
        copy(tree)
        file = tree / "circuitlsc" / fault.file
        text = file.read_text(encoding="utf-8")
        if text.count(fault.right) != 1:
            raise SystemExit(f"{fault.name}: {fault.file} has {text.count(fault.right)} times {fault.right!r}")
        file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
        done = run(tree, fault.test)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return failed[0].split()[1] if done.returncode == 1 and failed else ""


def main() -> int:
    """Make the faults; return how many no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    faults = [f for f in FAULTS if not options.names or f.name in options.names]
    with tempfile.TemporaryDirectory(prefix="faults-") as root:
        copy(Path(root))
        done = run(Path(root), *dict.fromkeys(f.test for f in faults))
    if done.returncode:
        print(done.stdout)
        raise SystemExit("the tests do not pass without any fault")
    with ThreadPoolExecutor(options.jobs) as pool:
        missed = 0
        for fault, found in zip(faults, pool.map(caught, faults), strict=True):
            missed += not found
            print(f"{'caught' if found else 'MISSED'}  {fault.name}: {found or fault.test}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} deliberate faults are caught")
    return missed


if __name__ == "__main__":
    sys.exit(main() > 0)
