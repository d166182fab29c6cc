"""Dictionaries and array files."""

import json
import pickle
import re
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from circuitlsc import InputError, bars
from circuitlsc.model.data import CONVERT, load_array, load_dictionary


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


@pytest.mark.parametrize("name", ["a.doc", "a", "a.npy.gz"])
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


# --- text as people have it ---

M = np.array([[0.25, -1.5, 3.0], [0.125, 2.0, -0.5]])
POINTS = [["0.25", "-1.5", "3"], ["0.125", "2.0", "-5e-1"]]
COMMAS = [[field.replace(".", ",") for field in row] for row in POINTS]


def joined(rows, separator, end="\n"):
    return end.join(separator.join(row) for row in rows) + end


PANDAS = pd.DataFrame(M)
NAMED = pd.DataFrame(M, index=["up", "down"], columns=["a", "b", "c"])
TEXTS = {
    "comma": joined(POINTS, ","),
    "comma, blank": joined(POINTS, ", "),
    "quotes": joined([[f'"{field}"' for field in row] for row in POINTS], ","),
    "semicolon": joined(POINTS, ";"),
    "tab": joined(POINTS, "\t"),
    "blanks": joined(POINTS, "   "),
    "leading blanks": "  " + joined(POINTS, " ", "\n  "),
    "semicolon, decimal comma": joined(COMMAS, ";"),
    "tab, decimal comma": joined(COMMAS, "\t"),
    "blanks, decimal comma": joined(COMMAS, "  "),
    "quotes, decimal comma": joined([[f'"{field}"' for field in row] for row in COMMAS], ","),
    "Excel": "sep=;\r\n" + joined(COMMAS, ";", "\r\n"),
    "trailing separator": joined(POINTS, ",", ",\n"),
    "trailing separator, header": "a;b;c;\n" + joined(COMMAS, ";", ";\n"),
    "comment": "# a b c\n" + joined(POINTS, " ", " # more\n"),
    "empty lines": "\n\n" + joined(POINTS, ",", "\n\n"),
    "header": "a,b,c\n" + joined(POINTS, ","),
    "quoted header": '"a, first";"b";"c"\n' + joined(COMMAS, ";"),
    "names": "up,0.25,-1.5,3\ndown,0.125,2,-.5\n",
    "pandas": PANDAS.to_csv(),
    "pandas, label": PANDAS.to_csv(index_label="pixel"),
    "pandas, names": NAMED.to_csv(),
    "pandas, words as label": NAMED.to_csv(index_label="pixel"),
    "pandas, numbers as names": NAMED.reset_index(drop=True).to_csv(index_label="index"),
    "pandas, without index": NAMED.to_csv(index=False),
    "pandas, German": NAMED.to_csv(sep=";", decimal=","),
    "R, write.csv": '"","V1","V2","V3"\n"1",0.25,-1.5,3\n"2",0.125,2,-0.5\n',
    "R, write.table": '"V1" "V2" "V3"\n"1" 0.25 -1.5 3\n"2" 0.125 2 -0.5\n',
}


@pytest.mark.parametrize("ending", ["csv", "txt"])
@pytest.mark.parametrize("name", list(TEXTS))
def test_text_is_the_same_matrix_however_it_is_written(tmp_path, name, ending):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (path := tmp_path / f"a.{ending}").write_bytes(TEXTS[name].encode(encoding))
        np.testing.assert_array_equal(load_array(path, "model.dictionary", matrix=True), M)


def test_a_tsv_file_has_tabs(tmp_path):
    """So that one column of decimal commas is none of whole numbers."""
    for text, matrix in (("1,5\n2,5\n", [[1.5], [2.5]]), (joined(COMMAS, "\t"), M), (NAMED.to_csv(sep="\t"), M)):
        (path := tmp_path / "a.tsv").write_text(text)
        np.testing.assert_array_equal(load_array(path, "model.dictionary", matrix=True), matrix)


def test_a_vector_may_be_a_row_or_a_column_with_names(tmp_path):
    for text in ("0,5;-1\n", pd.Series([0.5, -1]).to_csv(), "a\tb\n0.5\t-1\n", "x\n0.5\n-1\n"):
        (path := tmp_path / "x.txt").write_text(text)
        np.testing.assert_array_equal(load_array(path, "model.x"), [0.5, -1.0])


UNCLEAR = {
    "0,1,2\n0.5,0.25,0.125\n": "its first line numbers the columns",  # DataFrame.to_csv(index=False)
    "0,1\n1,0\n": "its first line numbers the columns",
    "1,2,3\n0.5,0.25,0.125\n": "its first line numbers the columns",
    "n,a,b\n0,0.5,0.25\n1,0.125,0.5\n": "its first column counts the rows",
    "1 0.5 0.25\n2 0.125 0.5\n": "its first column counts the rows",
    "0,000554,0,216200\n-0,828952,-0,170134\n": "line 1 has a whole number that begins with 0, as if a comma were both",
    '"1,234","5,678"\n': "it has commas in its numbers",
    "1,5;2,5\n3.5;4\n": "line 2 has a point, and others have decimal commas",
    "1.234,5;2\n": "line 1, column 1 is not a number",
    "a,b,c\n1,2\n3,4\n": "line 1 has 3 names, and there are 2 columns",
    "a,b\n1,2,3\n4,5,6\n": "line 1 has 2 names, and there are 3 columns",
    "0.1,0.2x,0.3\n1,2,3\n": "line 1, column 2 is not a number",  # no header
    ",1,2\n,3,4\n": "line 1, column 1 is empty",
    "a,b,c\n1,2,\n3,4,\n": "line 2, column 3 is empty",
    "1,2,3\n4,,6\n": "line 2, column 2 is empty",
    "a,b\nm,s\n1,2\n": "line 2, column 1 is not a number",
    "1 2; 3 4\n": "line 1, column 1 is not a number",
    "[1,2;3,4]\n": "line 1, column 1 is not a number",
    "word,0,1\nup,1,0\n": "its first line numbers the columns",
    "1.5x,2.5y\n1,2\n": "line 1, column 1 is not a number",  # no header
    "0.1x,0.2\n": "line 1, column 1 is not a number",  # no name of a row
    "1,2\n" * 30 + "3,x\n": "line 31, column 2 is not a number",
    "up,1,2\n" * 30 + "up,1\n": "line 31 has 2 numbers, and those before it have 3",
    "1,2,\n" * 30 + "1,2,3\n": "line 31 has 3 numbers, and those before it have 2",
}


@pytest.mark.parametrize("text", list(UNCLEAR))
def test_what_could_be_read_in_two_ways_is_not_read(tmp_path, text):
    (path := tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=rf" cannot be read: {re.escape(UNCLEAR[text])}[^\n]*\. {SAVE_AGAIN}$"):
        load_array(path, "model.dictionary", matrix=True)


def test_text_in_another_encoding_is_named(tmp_path):
    (path := tmp_path / "a.csv").write_bytes("a,b\n1,2\nGröße,3\n".encode("latin-1"))
    with refused(path, rf"cannot be read: line 3 is no text in UTF-8: save it in that encoding\. {SAVE_AGAIN}"):
        load_array(path, "model.x")
    path.write_bytes("1,2\n".encode("utf-16-le"))
    with refused(path, rf"cannot be read: it has zero bytes, as no text in UTF-8 has: .*{SAVE_AGAIN}"):
        load_array(path, "model.x")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["9\n", "x,9\n"])
def test_text_takes_no_more_memory_than_a_few_times_its_size(tmp_path, text):
    (path := tmp_path / "a.csv").write_text(text * 4)
    load_array(path, "model.x")  # what is imported for it is no memory of a text
    path.write_text(text * 2**17)
    tracemalloc.start()
    try:
        load_array(path, "model.x", most=2**18)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    numbers = 8 * 2**17
    # measured: 2.7 and 4.2 MB with Python 3.11
    assert peak < 2 * numbers + 12 * path.stat().st_size
    path.write_text("9," * 2**22)
    with refused(path, rf"cannot be read: its lines are longer than 4,194,304 characters\. {SAVE_AGAIN}"):
        load_array(path, "model.x")


@pytest.mark.parametrize("suffix", list(CONVERT))
def test_other_formats_are_refused_with_the_python_that_converts_them(tmp_path, suffix, monkeypatch):
    """What can be run here is run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"a{suffix}"
    write = {
        ".mat": lambda: scipy.io.savemat(path, {"A": M}),
        ".json": lambda: path.write_text(json.dumps(M.tolist())),
        ".pkl": lambda: path.write_bytes(pickle.dumps(M)),
    }
    for hdf5 in (".h5", ".hdf5", ".nc"):
        write[hdf5] = lambda: h5py.File(path, "w").create_dataset("A", data=M).file.close()
    write.get(suffix, path.touch)()
    with pytest.raises(InputError) as caught:
        load_array(path, "model.dictionary")
    said, _, code = str(caught.value).partition("Convert it in Python, and give the .npy file: ")
    assert f"ends in '{suffix}', which is not read here. " in said
    compile(code, "advice", "exec")
    if suffix in write:
        exec(code, {})
        np.testing.assert_array_equal(load_array(tmp_path / "a.npy", "model.dictionary"), M)
