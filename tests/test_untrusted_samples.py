"""samples.nc from a stranger: HDF5 that points elsewhere, inflates, or is not what it says, is one line."""

import h5py
import numpy as np
import pytest
from test_samples import made_up

from circuitlsc import InputError, Samples, SparseCodingModel, SpikeSlab, bars, build_sampler


@pytest.fixture(scope="module")
def good_samples(tmp_path_factory):
    """Return a file of samples, made without a simulator."""
    path = tmp_path_factory.mktemp("samples") / "samples.nc"
    made_up(build_sampler(SparseCodingModel(bars(1), SpikeSlab(0.5, 0.5), 0.5), np.ones(1)))[0].save(path)
    return path.read_bytes()


def elsewhere(file, folder):
    (folder / "secret.bin").write_bytes(bytes(range(192)))
    del file["posterior/u"]
    shape, size = (2, 6, 2), 192
    file["posterior"].create_dataset("u", shape, "f8", external=[(str(folder / "secret.bin"), 0, size)])


def linked(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["u"] = np.ones((2, 6, 2))
    del file["posterior/u"]
    file["posterior/u"] = h5py.ExternalLink(str(folder / "other.h5"), "u")


def soft(file, folder):
    file["posterior/again"] = h5py.SoftLink("/posterior")


def virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["u"] = np.ones((2, 6, 2))
    layout = h5py.VirtualLayout((2, 6, 2), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "u", (2, 6, 2))
    del file["posterior/u"]
    file["posterior"].create_virtual_dataset("u", layout)


def inflating(file, folder):
    file["posterior"].create_dataset("zeros", (10**6, 10**6), "f8", chunks=(1000, 1000), compression="gzip")


def packed(file, folder):
    file["posterior"].create_dataset("packed", (100,), "f8", chunks=(100,), compression="lzf")


def nested(file, folder):
    file["posterior/posterior"] = file["posterior"]


def objects(file, folder):
    file["posterior"].create_dataset("objects", (1,), h5py.ref_dtype)


def replaced(name, values):
    def change(file, folder):
        attrs = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update({k: v for k, v in attrs.items() if k.startswith("_Netcdf4")})

    return change


def removed(name):
    def change(file, folder):
        del file[name]

    return change


def attribute(name, value):
    def change(file, folder):
        file.attrs[name] = value

    return change


HOSTILE = {
    elsewhere: "the numbers of 'u' are in another file",
    linked: "'u' is a link",
    soft: "'again' is a link",
    virtual: "the numbers of 'u' are in another file",
    inflating: "far larger than the file",
    packed: "'packed' is packed in a way that needs a plug-in",
    nested: "groups in groups",
    objects: "'objects' is neither numbers nor text",
    replaced("posterior/u", np.ones((2, 5, 2))): "",
    replaced("posterior/u", np.ones(3)): "",
    replaced("posterior/u", np.full((2, 6, 2), np.nan)): "",
    replaced("posterior/time", np.zeros(6)): "",
    replaced("constant_data/A", np.ones((2, 2))): "",
    replaced("constant_data/sigma", -1.0): "",
    replaced("sample_stats/steps", np.zeros(2)): "",
    removed("sample_stats/wall"): "sample_stats/wall is missing",
    attribute("t_stop", "long"): "attribute t_stop is not what it should be",
    attribute("t_stop", np.inf): "attribute t_stop is not what it should be",
    attribute("thin", 0): "attribute thin is not what it should be",
    attribute("prior", 3): "attribute prior is not what it should be",
    attribute("signed", 2.5): "attribute signed is not what it should be",
    attribute("nonideal", "[" * 100_000): "",
    attribute("nonideal", "[]"): "attribute nonideal is not what it should be",
}


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: getattr(change, "__name__", "change"))
def test_samples_of_strangers(good_samples, tmp_path, change):
    path = tmp_path / "samples.nc"
    path.write_bytes(good_samples)
    assert Samples.load(path).u.shape == (2, 6, 2)
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    with pytest.raises(InputError, match=rf"is not a file of circuitlsc samples \([^\n]*{HOSTILE[change]}[^\n]*\)\.$"):
        Samples.load(path)
