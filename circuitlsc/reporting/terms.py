"""What each number of a report means: the texts that pages show below their tables and `circuitlsc explain` prints."""

from __future__ import annotations

from collections.abc import Iterator

from circuitlsc.io.report import Facts, Report, Table

#: Titles of columns and of their groups, labels of lines, and titles of numbers that runs are put side by side by. What two
#: reports call by one name means the same in both. A title that goes on with a number has the meaning of its first words.
TERMS = {
    # what rows are
    "latent": "Which latent, counted from 0: a column of the dictionary, a neuron of the circuit.",
    "input": "Which input, counted from 0: a row of x.",
    "imperfection": "What a circuit has besides ideal parts: one imperfection with its value, or all of them; 'ideal' "
    "has none.",
    "chip": "The seed of a chip's random errors.",
    "part": "A kind of part of the circuit.",
    "statistic": "What is ranked: a latent's code (where it is nonzero, too), the log likelihood, the total size of the "
    "code, the number of active latents and their mean size.",
    "friction": "The friction gamma of a circuit with momentum; 'overdamped' is the circuit without momentum.",
    # statistics
    "P(active)": "How probable it is that a latent is not zero: the share of samples with |u| beyond the threshold.",
    "mean of s": "Mean of a latent's code s, in units of the model.",
    "sd of s": "Standard deviation of a latent's code s, in units of the model.",
    "circuit": "What the circuit's samples give, in ngspice; of a circuit that settles, the code that it settles on.",
    "SDE": "What correct runs in software give on average: the same equation, starts, length and chains, without a "
    "circuit. Their step has a small bias of its own (0.001 to 0.006 in P(active)).",
    "NumPy": "What correct runs in software give on average: independent draws of the encoder's law.",
    "exact": "What the posterior gives: a closed form, quadrature, enumeration, or a long reference run; the line "
    "'reference' says which.",
    "law": "What the encoder's law gives, in closed form: what a variational circuit should sample. It is not the "
    "posterior.",
    "error": "Standard error: how far correct runs like this one are from the exact value, by chance.",
    "z": "Circuit minus exact, over the standard error of correct runs on that side. It is judged against a limit for "
    "all statistics together, not one by one.",
    "software": "What software finds as the minimum of the same objective.",
    "difference": "Circuit minus software, in units of the model.",
    # two simulators
    "paths": "Which two are compared on the same noise: each simulator with NumPy at its own time points, and both with each "
    "other.",
    "in ngspice": "What the samples of ngspice give.",
    "in VACASK": "What the samples of VACASK give, a second simulator, on the same noise.",
    "bound": "What the root mean square may be at most: 1e-6, or 5e-9 with a tolerance of 1e-9; 0.05 between the simulators, "
    "whose chunks open in different ways, and as right paths part for a moment where a state goes to either side of 0.",
    "median": "Median of that difference.",
    "its bound": "What the median may be at most: 1e-6, or 5e-9 with a tolerance of 1e-9; 0.001 between the simulators.",
    "largest difference": "Largest absolute difference of the two.",
    "length": "How long two paths are compared, tau per chain.",
    "cells": "What the cells of both circuits are, and the tolerance of the iteration that solves each step.",
    "simulators": "Which programs ran the circuit, with the beginnings of their hashes.",
    # a memory
    "largest": "Of an input, circuit minus exact of the latent that is farthest off.",
    "of all statistics": "Over all that is judged of an input: P(active), means, standard deviations and pairs.",
    "|z|": "The largest |circuit - exact| over its standard error, of an input.",
    "limit": "What the largest |z| of an input exceeds by chance in one of a hundred correct runs, all inputs counted.",
    "ESS": "Effective sample size: as many independent samples would know the slowest statistic as well.",
    # lines of a run
    "reference": "How the truth is known, and how far the largest |z| is from its limit: what correct runs exceed in "
    "one case of a hundred. p is the share of correct runs whose largest |z| is as large as this one's once 0.005, the bias "
    "that a time step may have, is taken off every difference: it is what is judged, and can be 1 beyond the limit.",
    "errors": "Where standard errors come from: software runs like this one, modes that such runs miss included. A "
    "fault of the smaller size would show in the statistic that is known best, of the larger one in any.",
    "tolerance": "How close to exact is close: a run agrees if every difference and its error together are within it.",
    "pairs": "P(both active) of every two latents, judged like all other statistics.",
    "supports": "A support is the set of active latents. Total variation is half of the summed differences of their "
    "probabilities; the sampling floor is what it would be from noise alone in a correct run.",
    "same noise": "Circuit minus a NumPy integration of its equation on the same noise path: an error of the circuit, "
    "not of chance.",
    "temperature": "The virial theorem: <u dE/du> / T is 1 for every latent of a correct sampler, whatever the "
    "posterior; summed over the inputs of a memory and divided by T K it is the rank of the features.",
    "momentum": "Equipartition: the mean of p^2 / T is 1 for every momentum of a correct sampler, whatever the "
    "posterior.",
    "engine": "What stands for a circuit's transistors: tables of what its cells were measured to do, or every transistor.",
    "residual": "Mean of |x - A s|^2: what the codes leave of the input.",
    "chains": "How many chains of which length, and how well they mix. Effective samples: as many independent ones "
    "would know the slowest statistic as well. R-hat compares chains with each other: 1 if all have the same law, and "
    "above 1.05 nothing agrees.",
    "bias": "How far the encoder's law is from the posterior: KL divergence in nats (log p(x) minus ELBO), and "
    "differences of statistics. It is no fault of the circuit, and not judged.",
    "weighted": "The samples weighted by p(x, s)/q(s), which takes the law's bias back where weights are even: the "
    "effective share of the draws, and whether weighted averages agree with the posterior.",
    "ngspice": "What the simulation cost: wall time, time points and Newton iterations per step; rejected points are "
    "steps that had to be tried again.",
    "note": "Something that the run cannot know, or that is odd about it: what to do stands with it.",
    "verdict": "agrees: all that is judged is where it should be, and the run is long enough to tell. disagrees: "
    "something is farther off than a correct circuit is by chance. inconclusive: the run cannot tell, and says what "
    "would. Of a chip: pass, fail, or undecided within 3 standard errors of the tolerance.",
    # streams and memories
    "inputs": "How many inputs there are; in a table, on how many of them a row rests.",
    "each input": "Root mean square over inputs of circuit minus law, noise taken off: it sees errors that cancel in "
    "averages. Beside it, the error that would show, and the input that is farthest off.",
    "step": "The time step of the simulation, in tau. In a line: its error, by what half the step changes.",
    "visits": "How often each input is on, for how long; effective samples of a visit, and R-hat, as for chains.",
    "within visits": "Circuit minus exact at the start, the middle and the end of visits: a memory is exact at any of "
    "them.",
    # a circuit that settles
    "objective": "What the circuit minimises, at the code that it settles on; the gap is its relative distance to "
    "software's minimum.",
    "support": "Whether the same coefficients are not zero as in software, those below 1 % of the largest left out.",
    "settling": "How long it takes until the code stays within 1 % of where it ends.",
    # budget and yield
    "dP(active)": "Change of P(active) against the circuit with ideal parts on the same noise, of the latent that "
    "changes most (standard error of the paired difference).",
    "dmean": "Change of the mean of s on the same noise, of the latent that changes most (standard error of the paired "
    "difference).",
    "TV of supports": "Total variation between the laws of the active sets of both circuits (standard error); noise "
    "alone makes it positive.",
    "dP(both)": "Change of P(both active) on the same noise, of the pair that changes most (standard error).",
    "notes": "What a first-order formula predicts for dP(active) and dmean, and whether the result depends on the time "
    "step.",
    "largest error": "The largest difference of P(active) or mean (in units of the slab) of any latent: of a chip, from "
    "the circuit with ideal parts on the same noise; in a sweep of friction, from exact, standard deviations included.",
    "s.e.": "Standard error of that difference.",
    # calibration
    "mean rank": "Mean over inputs of the rank of the true code among the circuit's draws, scaled to 0 .. 1; 0.5 is "
    "right.",
    "shift": "How far true values lie beside the draws, in posterior standard deviations; 0 is right. Positive: draws "
    "are too small.",
    "spread": "How widely true values are spread beside the draws, 1 is right. Above 1: draws are too narrow.",
    "p": "How probable ranks as uneven as these are if the sampler is right.",
    "adjusted": "p times the number of statistics (Bonferroni): that of the smallest p among so many.",
    "right": "What a correct sampler has.",
    "power": "What fault of one statistic would have been found with that chance.",
    "false alarms": "How probable it is that a correct sampler is found to disagree.",
    # friction
    "ESS per tau": "Effective samples of the slowest statistic per tau and chain.",
    "relative": "ESS per tau over that of the overdamped circuit.",
    "us/step": "Wall time of ngspice for a step, in microseconds.",
    "largest |z|": "The largest |circuit - exact| over its standard error, of all statistics that are compared.",
    # learning
    "learned": "What was learned, in what, and from how many inputs.",
    "dictionary": "Size of the learned dictionary, and the norms of its atoms (columns).",
    "against truth": "Learned atoms beside the dictionary that made the data, matched one to one: cosines and ratios of "
    "norms, 1 is right.",
    "pi": "How probable it is that a latent is active under the prior.",
    "lam": "Rate of the slab: its mean size is 1/lam.",
    "sigma": "Noise level of the data, in their units.",
    "encoder": "Sizes of the encoder's layers, inputs first, and how long it was trained.",
    "ELBO": "A lower bound on log p(x) of an input, in nats: the higher, the better encoder and model.",
    "held out": "The ELBO of inputs that were not trained on.",
    "dead atoms": "Atoms that are used no more: shorter than a tenth of the longest.",
    "log p(x)": "How probable the model makes inputs that were not trained on, in nats per input.",
    "KL": "Log p(x) minus ELBO, in nats: how far the encoder's law is from the posterior.",
    # energy
    "number": "How many there are of a part.",
    "quiescent A": "Supply current of all of them at rest, in ampere; its estimate stands at the end of the row.",
    "sourced A": "Current that a rail sources for their loads on average, in ampere: half of what flows.",
    "W": "Supply voltage (from rail to rail) times both currents, in watt.",
    # cells of transistors
    "cells of": "The corner of process, temperature and supply, and the seed of the chip if its devices differ.",
    "neuron": "Which neuron of a chip; if devices are alike one stands for all.",
    "slope": "Mean of ds/du far from the threshold, of either sign of u; 1 is right.",
    "gain": "Mean of the gate per unit of e far from the threshold, of either sign of u; 1 is right.",
    "u0": "The abs(u) where the code is w, of either sign of u, in units of the model.",
    "offset": "The code at u = 0, in units of the model.",
    "gate - ds/du": "The largest difference of gate and slope of the code over all u: 0 is the gradient of an energy.",
    "largest gate - ds/du": "The same, of the worst neuron of all chips and corners.",
    "rms": "Root mean square of that difference.",
    "supply A": "Current from the supply with u and e at 0, in ampere, of what was characterised: one neuron with the bias "
    "block if devices are alike, else all of them.",
    "max dP": "The largest difference of P(active) of the law that one neuron's tables imply from exact, at six inputs (0 to 3 "
    "slabs).",
    "max dmean": "The same of the mean of s.",
    "max dsd": "The same of the standard deviation of s.",
    "device": "A transistor of the chip, by its path.",
    "trim mV": "Millivolts in series with its gate.",
    "process": "Whose transistors, and where their models come from.",
    "design": "Currents and volts that a model's unit became.",
    "transistors": "How many there are, parallel ones counted one by one, and the area of their gates.",
    # samplers
    "rms at": "Error of P(active), root mean square over latents and inputs, after that time (tau) since an input's "
    "onset.",
    "KL at": "Divergence of the active sets (or of each latent's activity) that were seen so far from the posterior's, "
    "in nats.",
    "rms, bias": "What is left of the rms error of infinitely many samples of the law.",
    "KL, bias": "What is left of the divergence of infinitely many samples of the law, in nats.",
    "law's KL": "KL divergence of the law of codes from the posterior, in nats, mean over inputs.",
    "L0-LSC is better than": "Which sampler the slow, exact one is compared with.",
    "rms from": "From when on L0-LSC has the smaller rms error (95 % of a bootstrap over inputs): time in tau, r = inf "
    "being a noise cell that is infinitely fast, or energy per input in joule.",
    "KL from": "From when on L0-LSC has the smaller divergence (95 % of a bootstrap over inputs), as for rms.",
    "as accurate with r": "How many times as fast as the neuron a noise cell must be for an rms error as small as "
    "L0-LSC's at the end.",
    "circuits": "Whether each circuit sampled what it should, by P(active) averaged over inputs.",
    "energy": "Why the energy per input is not known.",
    # numbers beside those of other runs
    "limit of |z|": "What the largest |z| exceeds by chance in one of a hundred correct runs.",
    "run": "A folder of results: its name leads to its own page.",
    "command": "What was done, with which config.",
    "config": "Keys in which the configs of the runs differ.",
    "numbers": "What each run found.",
    "smallest norm": "Norm of the shortest learned atom.",
    "largest norm": "Norm of the longest learned atom.",
    "smallest cosine": "Cosine of the learned atom that is least like the true one that it is matched with; 1 is right.",
    "fault that would show": "How large a fault of any statistic must be to be found by this run.",
    "smallest ESS": "Effective sample size of the statistic that is known worst.",
    "tau per chain": "Length of each chain, in tau, warmup included.",
    "largest |z| / limit": "The largest |z| of an input over its limit: above 1 in one of a hundred correct runs.",
    "effective samples in a visit": "Effective samples of P(active) in a visit, median over inputs and latents.",
    "gap": "Objective above software's minimum, relative.",
    "largest gap": "Objective above software's minimum, relative, of the input where it is largest.",
    "settling (tau)": "How long it takes until the code stays within 1 % of where it ends, in tau.",
    "longest settling (tau)": "The same, of the input that takes longest.",
    "chips": "How many chips were measured.",
    "yield": "Share of the chips whose largest error is within the tolerance.",
    "best friction": "The friction with the most effective samples per tau.",
    "smallest adjusted p": "The smallest p of all statistics, times their number.",
    "shift that would show": "What shift of one statistic would have been found with a chance of 95 %.",
    "J per effective sample": "Energy per effective sample of the slowest statistic, in joule.",
    "rms at the end": "Error of P(active), root mean square over latents and inputs, at the end of the time that an "
    "input is on.",
}


def term(title: str) -> str | None:
    """Return which of `TERMS` a title is: it, or what is as long as possible of its first words; None if there is none."""
    words = title.split(" ")
    first = (" ".join(words[:n]).rstrip(",") for n in range(len(words), 0, -1))
    return next((each for each in first if each in TERMS), None)


def _titles(report: Report) -> Iterator[str]:
    for block in report.blocks:
        if isinstance(block, Table):
            yield from (word for column in block.columns for word in (column.group, column.title))
        elif isinstance(block, Facts):
            yield from (label for label, _ in block.rows)
    yield from report.summary


def meanings(report: Report) -> list[tuple[str, str]]:
    """Return the terms that stand in a report with what they mean, each once, in order."""
    found = dict.fromkeys(filter(None, map(term, _titles(report))))
    return [(each, TERMS[each]) for each in found]


def unexplained(report: Report) -> list[str]:
    """Return the titles in a report that no meaning is known of."""
    return [title for title in _titles(report) if title and term(title) is None]
