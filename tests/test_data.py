"""Dictionaries and array files."""

import re

import numpy as np
import pytest

from circuitlsc import InputError, bars
from circuitlsc.data import load_array, load_dictionary


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_bars(n):
    A = bars(n)
    assert A.shape == (n * n, 2 * n)
    np.testing.assert_allclose(np.linalg.norm(A, axis=0), 1.0)
    assert np.linalg.matrix_rank(A) == 2 * n - 1  # rows and columns both add up to the full image


def test_each_atom_is_one_bar_of_the_image():
    for i in range(3):
        row, column = np.zeros((3, 3)), np.zeros((3, 3))
        row[i], column[:, i] = 1, 1
        np.testing.assert_array_equal(bars(3, normalise=False)[:, i].reshape(3, 3), row)
        np.testing.assert_array_equal(bars(3, normalise=False)[:, 3 + i].reshape(3, 3), column)


def test_pixels_of_0_and_1_are_an_option():
    np.testing.assert_allclose(bars(4, normalise=False), 2 * bars(4))
    assert set(np.unique(bars(4, normalise=False))) == {0.0, 1.0}


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "4"])
def test_bars_refuses_what_is_no_size(n):
    message = f"bars: n = {n!r}, but the image needs at least one pixel a side. Give an integer >= 1."
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        bars(n)


def test_dictionary_by_name_or_file(tmp_path):
    np.save(tmp_path / "A.npy", np.eye(3))
    np.testing.assert_array_equal(load_dictionary("bars:4", tmp_path), bars(4))
    np.testing.assert_array_equal(load_dictionary("bars:4:01", tmp_path), bars(4, normalise=False))
    np.testing.assert_array_equal(load_dictionary("A.npy", tmp_path), np.eye(3))


@pytest.mark.parametrize("text", ["bars:", "bars:0", "bars:65", "bars:4:02", "bars:-4", "bars:4x", "bars:²"])
def test_misspelt_bars_are_refused(text, tmp_path):
    message = (
        f"model.dictionary = {text!r} is not bars:N with N from 1 to 64. "
        'Write "bars:4" (unit-norm atoms) or "bars:4:01" (0/1 pixels).'
    )
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        load_dictionary(text, tmp_path)


A = np.array([[1.0, -2.5e-3], [0.25, 4.0]])


def test_arrays_come_back(tmp_path):
    np.save(tmp_path / "a.npy", A)
    np.savez(tmp_path / "a.npz", whatever=A)
    np.savetxt(tmp_path / "a.csv", A, delimiter=",")
    np.savetxt(tmp_path / "UPPER.CSV", A[0], delimiter=",")
    for name in ("a.npy", "a.npz", "a.csv"):
        np.testing.assert_array_equal(load_array(tmp_path / name, "model.dictionary"), A)
    np.testing.assert_array_equal(load_array(tmp_path / "UPPER.CSV", "model.x"), A[0])


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1)])
def test_a_matrix_of_one_row_or_column_stays_one(tmp_path, shape):
    matrix = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    np.savetxt(tmp_path / "a.csv", matrix, delimiter=",")
    np.testing.assert_array_equal(load_dictionary("a.csv", tmp_path), matrix)
    assert load_array(tmp_path / "a.csv", "model.x").ndim <= 1


def refused(path, text):
    """Match the whole message; ``text`` is a regular expression for what follows the path."""
    return pytest.raises(InputError, match=rf"^model\.x = {re.escape(repr(str(path)))} {text}$")


SAVE_AGAIN = r"Save it again as \.npy, \.npz or \.csv\."


def test_missing_file(tmp_path):
    path = tmp_path / "none.npy"
    with refused(path, r"is not a file that exists\. Give a path relative to the config file\."):
        load_array(path, "model.x")


def test_folder_is_no_file(tmp_path):
    (path := tmp_path / "folder.npy").mkdir()
    with refused(path, r"is not a file that exists\. Give a path relative to the config file\."):
        load_array(path, "model.x")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.pkl", "a.npy.gz"])
def test_unknown_kind(tmp_path, name):
    (path := tmp_path / name).write_text("1,2")
    ends = (
        rf"ends in '{re.escape(path.suffix)}', which is no known kind" if path.suffix else "has no ending that says .*"
    )
    with refused(path, rf"{ends}\. Give \.npy, \.npz or \.csv\."):
        load_array(path, "model.x")


def test_a_dictionary_without_ending_may_have_meant_bars(tmp_path):
    path = tmp_path / "bar:3"
    with pytest.raises(
        InputError, match=r'has no ending that says what it is\. Give \.npy, \.npz or \.csv, or "bars:4"\.'
    ):
        load_array(path, "model.dictionary")


class Bomb:
    def __reduce__(self):
        return print, ("a pickle ran",)


@pytest.mark.parametrize("suffix", ["npy", "npz", "whole"])
def test_pickles_are_refused_and_not_run(tmp_path, suffix, capsys):
    path = tmp_path / f"a.{'npy' if suffix == 'whole' else suffix}"
    bomb = np.array([Bomb()], dtype=object)
    if suffix == "whole":
        bomb.dump(path)
    else:
        (np.save if suffix == "npy" else np.savez)(path, bomb, allow_pickle=True)
    capsys.readouterr()
    with refused(
        path, r"is a pickled file, which could run code when loaded\. Save a plain float array .*numpy\.save\."
    ):
        load_array(path, "model.x")
    assert capsys.readouterr().out == ""


def test_npz_with_several_arrays(tmp_path):
    np.savez(path := tmp_path / "a.npz", A=A, B=A)
    with refused(path, r"holds the arrays \['A', 'B'\], but one is needed\. Save exactly one array\."):
        load_array(path, "model.x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b"\x93NUMPY\x01\x00 not really"),
        ("a.npz", b"PK\x03\x04 not really"),
        ("a.csv", b"1,2\n3,four\n"),
        ("a.csv", b"1,2\n3\n"),
        ("a.csv", b"\xff\xfe\x00\x9f"),
        ("a.npy", b""),
        ("a.npz", b""),
    ],
    ids=["npy", "npz", "csv-text", "csv-ragged", "csv-bytes", "npy-empty", "npz-empty"],
)
def test_garbage_is_refused_in_one_line(tmp_path, name, content):
    (path := tmp_path / name).write_bytes(content)
    with refused(path, rf"cannot be read: [^\n]+\. {SAVE_AGAIN}"):
        load_array(path, "model.x")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "comment.csv"])
def test_file_without_numbers_is_refused(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".csv":
        path.write_text("# only a comment\n" if path.stem == "comment" else "")
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, np.zeros((0, 3)))
    with refused(path, rf"cannot be read: it holds no numbers\. {SAVE_AGAIN}"):
        load_array(path, "model.x")


@pytest.mark.parametrize(("name", "content"), [("a.npy", b"0,1\n"), ("a.npz", b"0,1\n"), ("a.npy", b"PK\x03\x04")])
def test_renamed_file_is_not_called_a_pickle(tmp_path, name, content):
    (path := tmp_path / name).write_bytes(content)
    with refused(path, rf"cannot be read: its first bytes are not those of a {path.suffix} file\. {SAVE_AGAIN}"):
        load_array(path, "model.x")


def test_npz_without_arrays(tmp_path):
    np.savez(path := tmp_path / "a.npz")
    with refused(path, r"holds the arrays \[\], but one is needed\. Save exactly one array\."):
        load_array(path, "model.x")
