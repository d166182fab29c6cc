"""The config file: every bad input is one line that names the key, the value, why it cannot be, and what can."""

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from circuitlsc import CustomPrior
from circuitlsc.config.learning import TIMES, load_learn_config
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.config.table import ConfigTable
from circuitlsc.errors import InputError
from circuitlsc.io.declared import quantity
from circuitlsc.io.nearest import nearest
from circuitlsc.nonideal.nonidealities import Nonidealities

GOOD = {
    "model": {"dictionary": "bars:2", "x": "draw", "sigma": 0.5, "seed": 3},
    "prior": {"kind": "spike-slab", "pi": 0.3, "lam": 1.0},
    "circuit": {"form": "gram"},
    "run": {"t_stop": 100.0, "chains": 2, "seed": 1},
}


def write(tmp_path, changes=None, name="config.toml"):
    import tomli_w

    data = {table: dict(values) for table, values in GOOD.items()}
    for key, value in (changes or {}).items():
        table, _, key = key.partition(".")
        if value is None:
            data[table].pop(key)
        else:
            data.setdefault(table, {})[key] = value
    path = tmp_path / name
    path.write_text(tomli_w.dumps(data))
    return path


def test_defaults_and_relative_paths(tmp_path):
    np.save(tmp_path / "A.npy", np.eye(3, 2))
    np.savetxt(tmp_path / "x.csv", [[0.1, 0.2, 0.3]], delimiter=",")
    path = write(tmp_path, {"model.dictionary": "A.npy", "model.x": "x.csv"})
    config = load_config(path)
    assert config.model.A.shape == (3, 2)
    np.testing.assert_array_equal(config.x, [0.1, 0.2, 0.3])
    assert (config.built.form, config.built.level, config.built.tau, config.built.c_int) == (
        "gram",
        "ideal",
        None,
        None,
    )
    assert (config.sampler().scaling.tau, config.sampler().scaling.c_int) == (1e-6, 1e-12)
    assert (config.built.volt, config.built.width, config.timing.step) == (None, None, None)


@pytest.mark.parametrize(
    ("prior", "signed"),
    [
        ({"kind": "spike-slab", "pi": 0.2, "lam": 2.0, "signed": True}, True),
        ({"kind": "spike-slab", "pi": 1, "lam": 2}, False),
        ({"kind": "laplace", "lam": 2.0}, True),
        ({"kind": "laplace", "lam": 2.0, "signed": False}, False),
        ({"kind": "gaussian", "sd": 0.7}, True),
        ({"kind": "cauchy", "lam": 1.3}, True),
        ({"kind": "cauchy", "lam": 1.3, "scale": 0.4, "signed": False}, False),
        ({"kind": "square-root", "lam": 1.3}, True),
        ({"kind": "square-root", "lam": 1.3, "epsilon": 0.1, "signed": False}, False),
        ({"kind": "table", "file": "cost.csv"}, True),
        ({"kind": "table", "file": "costs/half.npy", "signed": False}, False),
    ],
)
def test_priors_and_resolved_config(tmp_path, prior, signed):
    import tomli_w

    s = np.linspace(-3, 3, 31)
    (tmp_path / "costs").mkdir()
    np.savetxt(tmp_path / "cost.csv", np.column_stack([s, s**2 + s]), delimiter=",")
    np.save(tmp_path / "costs" / "half.npy", np.column_stack([s[15:], s[15:] ** 2]))
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps({**GOOD, "prior": prior}))
    config = load_config(path)
    assert config.model.prior.signed is signed
    sampler = config.sampler()
    again = tmp_path / "config.resolved.toml"
    again.write_text(resolved_toml(config, sampler))
    second = load_config(again)
    assert second.sampler().library_deck == sampler.library_deck
    assert resolved_toml(second, second.sampler()) == again.read_text()
    assert tomllib.loads(again.read_text())["run"]["step"] == sampler.plan.step
    np.testing.assert_array_equal(second.x, config.x)


BAD = [
    ({"model.dictionry": "bars:2"}, r"model\.dictionry = 'bars:2' is not a known key\. Did you mean 'dictionary'\?"),
    ({"modle.sigma": 1.0}, r"\[modle\] is not a known table\. Did you mean 'model'\?"),
    ({"prior.pi": 0.0}, r"prior\.pi = 0\.0, but it must be > 0 and <= 1\. Give P\(active\) in \(0, 1\]"),
    ({"prior.pi": 1.5}, r"prior\.pi = 1\.5, but it must be > 0 and <= 1\. Give P\(active\) in \(0, 1\]"),
    ({"prior.pi": -0.3}, r"prior\.pi = -0\.3"),
    ({"prior.pi": float("nan")}, r"prior\.pi = nan"),
    ({"prior.pi": None}, r"prior\.pi is missing"),
    ({"prior.lam": 0}, r"prior\.lam = 0, but it must be finite and > 0"),
    ({"prior.lam": float("inf")}, r"prior\.lam = inf"),
    ({"prior.sd": 1.0}, r"prior\.sd = 1\.0 does not belong to a spike-slab prior"),
    ({"prior.kind": "spike_slab"}, r"prior\.kind = 'spike_slab' is not known\. Did you mean 'spike-slab'\?"),
    ({"prior.signed": "yes"}, r"prior\.signed = 'yes' is not true or false"),
    ({"model.sigma": -1.0}, r"model\.sigma = -1\.0, but it must be finite and > 0"),
    ({"model.sigma": "0.5"}, r"model\.sigma = '0\.5' is not a number"),
    ({"model.sigma": True}, r"model\.sigma = True is not a number"),
    ({"model.sigma": None}, r"model\.sigma is missing"),
    ({"model.dictionary": "nowhere.npy"}, r"model\.dictionary = '.*nowhere\.npy' is not a file that exists"),
    ({"model.dictionary": "bars:zwei"}, r"model\.dictionary = 'bars:zwei' is not bars:N"),
    ({"model.dictionary": 4}, r"model\.dictionary = 4 is not a string"),
    ({"model.x": "nowhere.npy"}, r"model\.x = '.*nowhere\.npy' is not a file that exists"),
    ({"model.seed": -1}, r"model\.seed = -1 is not a whole number >= 0"),
    # a kind is judged before its keys, and what has no hash is no kind
    (
        {"prior.kind": "log_cosh", "prior.lambda_": 1.0},
        r"prior\.kind = 'log_cosh' is not known\. .*Give one of \"spike-slab\"",
    ),
    ({"prior.kind": []}, r"prior\.kind = \[\] is not known"),
    ({"prior.kind": "laplace", "prior.lambda_": 1.0}, r"prior\.lambda_ = 1\.0 is not a known key"),
    ({"dynamics.kind": []}, r"dynamics\.kind = \[\] is not known\. Give one of \"langevin\""),
    ({"dynamics.kind": {}}, r"dynamics\.kind = \{\} is not known"),
    ({"dynamics.threshold": [1]}, r"dynamics\.threshold = \[1\] is not known"),
    ({"circuit.level": []}, r"circuit\.level = \[\] is not known"),
    ({"circuit.form": "grams"}, r"circuit\.form = 'grams' is not known\. Did you mean 'gram'\?"),
    ({"circuit.level": "devise"}, r"circuit\.level = 'devise' is not known\. Did you mean 'device'\?"),
    ({"circuit.tau": 0.0}, r"circuit\.tau = 0\.0"),
    ({"run.t_stop": 5.0}, r"run\.t_stop = 5\.0 tau is not beyond run\.warmup = 20\.0 tau"),
    ({"run.chains": 0}, r"run\.chains = 0 is not a whole number >= 1"),
    ({"run.chains": 2.5}, r"run\.chains = 2\.5 is not a whole number"),
    ({"run.chains": 2.0}, r"run\.chains = 2\.0 is not a whole number"),
    ({"run.step": "fast"}, r"run\.step = 'fast' is not a number"),
    ({"run.thin": 0}, r"run\.thin = 0 is not a whole number >= 1"),
]


@pytest.mark.parametrize(
    ("changes", "message"), BAD, ids=[next(iter(c)) + "=" + str(next(iter(c.values()))) for c, _ in BAD]
)
def test_bad_values(tmp_path, changes, message):
    path = write(tmp_path, changes)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: {message}") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_configs_of_the_other_command_are_told_apart(tmp_path):
    path = write(tmp_path, {"learning.learn": ["A"]})
    with pytest.raises(
        InputError, match=r"config\.toml has a table \[learning\]: it is a config of `circuitlsc learn`\."
    ):
        load_config(path)
    with pytest.raises(InputError, match=r"config\.toml has no table \[learning\]\. Add one .*\.$"):
        load_learn_config(write(tmp_path, {}), "software")


def test_a_letter_of_the_wrong_case_is_found():
    assert nearest("tau_a", TIMES) == " Did you mean 'tau_A'?"


def test_a_table_is_the_prior_of_its_columns(tmp_path):
    s = np.linspace(-3, 3, 31)
    np.save(tmp_path / "cost.npy", np.column_stack([s, s**2]))
    path = write(tmp_path, {"prior.kind": "table", "prior.file": "cost.npy", "prior.pi": None, "prior.lam": None})
    config = load_config(path)
    assert config.model.prior == CustomPrior.from_table(s, s**2, name="cost")
    assert tomllib.loads(resolved_toml(config, config.sampler()))["prior"] == {
        "kind": "table",
        "signed": True,
        "file": str(tmp_path / "cost.npy"),
    }


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"kind": "cauchy", "lam": 0.4}, r"prior\.lam = 0\.4, but .* > 0\.5\. Give the exponent of .* > 0\.5\.$"),
        ({"kind": "cauchy", "lam": 1.0, "scale": 0.0}, r"prior\.scale = 0\.0, but it must be finite and > 0"),
        ({"kind": "cauchy"}, r"prior\.lam is missing"),
        ({"kind": "cauchy", "lam": 1.0, "epsilon": 0.1}, r"prior\.epsilon = 0\.1 does not belong to a cauchy prior"),
        (
            {"kind": "square-root", "lam": 1.0, "epsilon": -1.0},
            r"prior\.epsilon = -1\.0, but it must be finite and > 0",
        ),
        ({"kind": "table"}, r"prior\.file is missing\. Give a \.csv, \.npy or \.npz file with two columns"),
        ({"kind": "table", "file": 3}, r"prior\.file = 3 is not a string"),
        ({"kind": "table", "file": "nowhere.csv"}, r"prior\.file = '.*nowhere\.csv' is not a file that exists"),
        ({"kind": "table", "file": "cost.py"}, r"prior\.file = '.*cost\.py' ends in '\.py', which is no known kind"),
        (
            {"kind": "table", "file": "wide.npy"},
            r"prior\.file = 'wide\.npy' has shape \(5, 3\), but a table has two columns",
        ),
        (
            {"kind": "table", "file": "half.npy"},
            r"prior\.file = .half\.npy.: CustomPrior: the table covers s = 0 to 3, but signed codes",
        ),
        ({"kind": "table", "file": "half.npy", "lam": 1.0}, r"prior\.lam = 1\.0 does not belong to a table prior"),
    ],
)
def test_bad_smooth_priors(tmp_path, prior, message):
    import tomli_w

    np.save(tmp_path / "wide.npy", np.ones((5, 3)))
    np.save(tmp_path / "half.npy", np.column_stack([np.linspace(0, 3, 9), np.linspace(0, 3, 9) ** 2]))
    (tmp_path / "cost.py").write_text("raise SystemExit('code of a config must not run')")
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps({**GOOD, "prior": prior}))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: {message}") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


def test_bad_arrays(tmp_path):
    cases = {
        "nan.npy": (np.array([[1.0, np.nan]]), r"nan\.npy\': the array\[0, 1\] = nan, but every entry must be finite"),
        "zero.npy": (np.array([[1.0, 0.0]]), r"\'zero\.npy\': A\[:, 1\] is a zero column"),
        "flat.npy": (np.ones(3), r"\'flat\.npy\': A has shape \(3,\), but a dictionary is \(n_features, n_latents\)"),
        "empty.npy": (np.ones((0, 3)), r"empty\.npy' cannot be read: it holds no numbers"),
        "text.npy": (np.array([["a"]]), r"text\.npy\': the array has dtype <U1, but real numbers are needed"),
    }
    for name, (array, message) in cases.items():
        np.save(tmp_path / name, array)
        with pytest.raises(InputError, match=rf"config\.toml: model\.dictionary = .*{message}"):
            load_config(write(tmp_path, {"model.dictionary": name}))
    np.save(tmp_path / "cost.npy", [[0.0, 1.0], [1.0, np.nan]])
    with pytest.raises(InputError, match=r"config\.toml: prior\.file = .*cost\.npy': the array\[1, 1\] = nan"):
        load_config(
            write(tmp_path, {"prior.kind": "table", "prior.file": "cost.npy", "prior.pi": None, "prior.lam": None})
        )
    np.save(tmp_path / "cost.npy", [[0.0, 1.0], [1.0, 2.0]])
    with pytest.raises(InputError, match=r"config\.toml: prior\.file = 'cost\.npy': CustomPrior: s has shape"):
        load_config(
            write(tmp_path, {"prior.kind": "table", "prior.file": "cost.npy", "prior.pi": None, "prior.lam": None})
        )


def test_x_of_wrong_length_and_not_finite(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(5))
    with pytest.raises(
        InputError, match=r"model\.x = 'x\.npy': x has shape \(5,\), but the dictionary A has n_features = 4"
    ):
        load_config(write(tmp_path, {"model.x": "x.npy"}))
    np.save(tmp_path / "x.npy", np.array([1.0, np.inf, 0.0, 0.0]))
    with pytest.raises(
        InputError, match=r"model\.x = '.*x\.npy': the array\[1\] = inf, but every entry must be finite"
    ):
        load_config(write(tmp_path, {"model.x": "x.npy"}))


def test_x_may_be_a_row_or_a_column(tmp_path):
    x = np.array([0.5, -1.0, 0.25, 2.0])
    for name, text in (("x.csv", "0,5;-1;0,25;2\n"), ("x.tsv", "\t0\n0\t0.5\n1\t-1\n2\t0.25\n3\t2\n")):
        (tmp_path / name).write_text(text)
        np.testing.assert_array_equal(load_config(write(tmp_path, {"model.x": name})).x, x)
    for shape in ((4,), (1, 4), (4, 1)):
        np.save(tmp_path / "x.npy", x.reshape(shape))
        np.testing.assert_array_equal(load_config(write(tmp_path, {"model.x": "x.npy"})).x, x)


def test_pickled_and_unreadable_files(tmp_path):
    np.save(tmp_path / "A.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"model\.dictionary = .* is a pickled file, which could run code"):
        load_config(write(tmp_path, {"model.dictionary": "A.npy"}))
    (tmp_path / "B.npy").write_bytes(b"not an array")
    with pytest.raises(InputError, match=r"model\.dictionary = .*B\.npy"):
        load_config(write(tmp_path, {"model.dictionary": "B.npy"}))


def test_a_config_may_come_from_windows(tmp_path):
    """A byte-order mark, UTF-16 as PowerShell's > writes it, and its line ends; another encoding is named."""
    path = write(tmp_path)
    text = path.read_text() + "# größer\n"
    expected = load_config(path)
    for encoding in ("utf-8-sig", "utf-16", "utf-8"):
        for newline in ("\r\n", "\n"):
            path.write_bytes(text.replace("\n", newline).encode(encoding))
            assert repr(load_config(path)) == repr(expected)
    line = text.count("\n")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(
        InputError, match=rf"config\.toml cannot be read \(line {line} is no text in UTF-8: save it in that enc"
    ):
        load_config(path)
    for encoding in ("utf-16-le", "utf-16-be", "utf-32"):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(
            InputError, match=r"config\.toml cannot be read \(.* UTF-8.*: save it in that encoding\)\. Give"
        ):
            load_config(path)


def test_files_that_are_no_config(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml does not exist"):
        load_config(tmp_path / "none.toml")
    path = tmp_path / "bad.toml"
    path.write_text("[model\nsigma = 1")
    with pytest.raises(InputError, match=r"bad\.toml is not valid TOML"):
        load_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bad\.toml cannot be read"):
        load_config(path)
    path.write_text("model = 3")
    with pytest.raises(InputError, match=r"model = 3 is not a table"):
        load_config(path)
    with pytest.raises(InputError, match=r"cannot be read"):
        load_config(tmp_path)


DEVICE = """
[model]
dictionary = "bars:2"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[circuit]
level = "{level}"
[nonideal]
{nonideal}
"""


def device_config(tmp_path, nonideal, level="device"):
    path = tmp_path / "device.toml"
    path.write_text(DEVICE.format(level=level, nonideal=nonideal))
    return path


def test_nonideal_preset_and_changes(tmp_path):
    path = device_config(
        tmp_path, 'preset = "discrete-board"\nseed = 4\nop_amp.gbw = 5e8\n[nonideal.crossbar]\nlevels = 16'
    )
    nonideal = load_config(path).nonideal
    preset = Nonidealities.preset("discrete-board", seed=4)
    assert nonideal == preset.changed({"op_amp.gbw": 5e8, "crossbar.levels": 16})
    assert nonideal.op_amp.slew_rate == preset.op_amp.slew_rate


def test_resolved_device_config_is_the_same_circuit(tmp_path):
    config = load_config(device_config(tmp_path, 'preset = "rram"\nseed = 7\nop_amp.gain = inf\ncorner.supply = 0.9'))
    sampler = config.sampler()
    (tmp_path / "resolved.toml").write_text(resolved_toml(config, sampler))
    again = load_config(tmp_path / "resolved.toml").sampler()
    assert again.nonideal == sampler.nonideal
    assert again.library_deck == sampler.library_deck


@pytest.mark.parametrize(
    ("nonideal", "message"),
    [
        ("op_amps.offset = 1e-3", r"nonideal\.op_amps = .* is not a known key\. Did you mean 'op_amp'\?"),
        ("op_amp.ofset = 1e-3", r"op_amp\.ofset is not a known parameter\. Did you mean 'offset'\?"),
        ("op_amp = 3", r"op_amp = 3 is not a table of parameters"),
        ("op_amp.gbw = -1e6", r"op_amp\.gbw = -1000000\.0, but it must be > 0"),
        ("crossbar.levels = 1", r"crossbar\.levels = 1 is not a whole number >= 2"),
        ("crossbar.levels = 1e300", r"crossbar\.levels = 1e\+300 is not a whole number from 2 to 1e\+06"),
        ("noise.resistance = 1e-300", r"noise\.resistance = 1e-300, but it must be >= 0\.001 and <= 1e\+15"),
        ("corner.resistance = 1e-300", r"corner\.resistance = 1e-300 has no room for its square\. Give a factor"),
        ("crossbar.g_off = 1e-4", r"crossbar\.g_off = 0\.0001 S is not below crossbar\.g_on = 1e-05 S"),
        ('preset = "rrram"', r"preset 'rrram' is not known\. Did you mean 'rram'\?"),
        ("preset = 3", r"nonideal\.preset = 3 is not a string\. Give the name of a preset in quotes"),
        ("seed = -1", r"nonideal\.seed = -1 is not a whole number >= 0"),
    ],
)
def test_bad_nonideal(tmp_path, nonideal, message):
    path = device_config(tmp_path, nonideal)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: {message}") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_nonideal_needs_the_device_level(tmp_path):
    path = device_config(tmp_path, "op_amp.gain = 1e3", level="ideal")
    with pytest.raises(InputError, match=r'\[nonideal\] needs circuit\.level = "device", and it is "ideal"'):
        load_config(path)


def test_how_a_run_is_judged(tmp_path):
    config = load_config(write(tmp_path))
    assert (config.timing.tolerance, config.timing.reference_time) == (0.02, 60.0)
    path = write(tmp_path, {"run.tolerance": 0.05, "run.reference_time": 7})
    config = load_config(path)
    assert (config.timing.tolerance, config.timing.reference_time) == (0.05, 7.0)
    again = write(tmp_path, name="again.toml")
    again.write_text(resolved_toml(config, config.sampler()))
    assert tomllib.loads(again.read_text())["run"].items() >= {"tolerance": 0.05, "reference_time": 7.0}.items()
    assert (load_config(again).timing.tolerance, load_config(again).timing.reference_time) == (0.05, 7.0)
    # one that settles has no samples to judge
    settling = load_config(write(tmp_path, {"dynamics.kind": "gradient"}))
    assert settling.timing.tolerance is None
    assert "tolerance" not in tomllib.loads(resolved_toml(settling, settling.sampler()))["run"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"run.tolerance": 0.005},
            r"run\.tolerance = 0\.005, but it must be finite and > 0\.005\. Give a difference, for example 0\.05",
        ),
        ({"run.tolerance": -1.0}, r"run\.tolerance = -1"),
        ({"run.tolerance": float("nan")}, r"run\.tolerance = nan"),
        ({"run.tolerance": float("inf")}, r"run\.tolerance = inf"),
        ({"run.tolerance": "small"}, r"run\.tolerance = 'small' is not a number"),
        (
            {"run.tolerance": 0.05, "dynamics.kind": "gradient"},
            r'dynamics\.kind = "gradient" settles on one code\. Remove it\.',
        ),
        ({"run.reference_time": 0.0}, r"run\.reference_time = 0"),
        ({"run.reference_time": -3.0}, r"run\.reference_time = -3"),
        ({"run.reference_time": float("nan")}, r"run\.reference_time = nan"),
        ({"run.reference_time": True}, r"run\.reference_time = True is not a number"),
    ],
)
def test_what_no_run_can_be_judged_by(changes, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        load_config(write(tmp_path, changes))
    assert "\n" not in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Keys:
    share: float = quantity(0.5, "1", "a share", high=1.0)
    count: int = quantity(3, "1", "a count", low=1, high=9, whole=True)
    three: tuple = quantity((), "1", "three shares", high=1.0, three=True)
    any_sign: float = quantity(0.0, "1", "a number", low=-math.inf)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("share", 2, r"t\.share = 2, but it must be >= 0 and <= 1\. Give a share\.$"),
        ("count", 10, r"t\.count = 10 is not a whole number from 1 to 9\. "),
        ("three", [0.1, 0.2, 3], r"t\.three = 3, but it must be >= 0 and <= 1\. Give three shares\.$"),
        ("three", 3, r"t\.three = 3 is not a list of three numbers"),
        ("any_sign", math.inf, r"t\.any_sign = inf, but it must be finite\. Give a number\.$"),
    ],
)
def test_the_reader_knows_every_declared_bound(key, value, message):
    with pytest.raises(InputError, match=rf"^c\.toml: {message}"):
        ConfigTable(Path("c.toml"), "t", {key: value}, Keys).value(key)
    good = {"share": 1, "count": 9, "three": [0.1, 0.2, 1], "any_sign": -5}
    assert ConfigTable(Path("c.toml"), "t", good, Keys).read() == Keys(
        share=1.0, count=9, three=(0.1, 0.2, 1.0), any_sign=-5.0
    )
