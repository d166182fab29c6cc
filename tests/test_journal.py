"""A chain's files: whatever is cut off or altered, what is read is a prefix of what was written."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitlsc.simulator.journal import JOURNAL, SAMPLES, JournalWriter, Record, checksum, read_journal, read_samples

WIDTH, CHUNKS = 3, 5


def chunk(k):
    """Return the rows and the record of chunk k; the second one keeps no sample."""
    rows = np.random.default_rng(k).normal(size=(0 if k == 1 else 4, WIDTH))
    total = sum(0 if i == 1 else 4 for i in range(k + 1))
    record = Record(
        steps=100 * (k + 1),
        rows=total,
        u=(0.1 * k, -1.0 / 3, 5e-324),
        held=(1e300,),
        feedback=((0.5, 1e-9), (), (-0.1,)),
        done=k == CHUNKS - 1,
        checksum=checksum(rows.tobytes()),
        points=k,
        rejected=0,
        iterations=3 * k,
        setup=0.5,
        wall=1.0 * k,
        cpu=1.0 * k,
        rss=7,
        ngspice="39",
    )
    return rows, record


def write(folder, chunks):
    folder.mkdir(exist_ok=True)
    with JournalWriter(folder, WIDTH) as journal:
        for k in chunks:
            journal.append(*chunk(k))


RECORDS = [chunk(k)[1] for k in range(CHUNKS)]


def test_what_was_written_is_read(tmp_path):
    write(tmp_path, range(CHUNKS))
    assert read_journal(tmp_path, WIDTH) == RECORDS
    rows = read_samples(tmp_path, RECORDS[-1].rows, WIDTH)
    np.testing.assert_array_equal(rows, np.concatenate([chunk(k)[0] for k in range(CHUNKS)]))
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1.0


def test_nothing_there_is_no_chunk(tmp_path):
    assert read_journal(tmp_path, WIDTH) == []
    assert read_journal(tmp_path / "nowhere", WIDTH) == []
    (tmp_path / JOURNAL).write_bytes(b"")
    assert read_journal(tmp_path, WIDTH) == []


@pytest.mark.parametrize("name", [JOURNAL, SAMPLES])
def test_cut_off_anywhere_leaves_the_chunks_before(tmp_path, name):
    write(tmp_path, range(CHUNKS))
    whole = (tmp_path / name).read_bytes()
    ends = [0]
    for k in range(CHUNKS):
        line = len(json.dumps(RECORDS[k].__dict__)) + 34  # a blank, 32 digits, a newline
        ends.append(ends[-1] + (line if name == JOURNAL else 8 * len(chunk(k)[0]) * WIDTH))
    assert ends[-1] == len(whole)
    for size in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:size])
        good = max(k for k in range(CHUNKS + 1) if ends[k] <= size)
        assert read_journal(tmp_path, WIDTH) == RECORDS[:good]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_bit_ends_what_counts(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("chain")
    write(folder, range(CHUNKS))
    name = data.draw(st.sampled_from([JOURNAL, SAMPLES]))
    content = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    content[at // 8] ^= 1 << at % 8
    (folder / name).write_bytes(content)
    found = read_journal(folder, WIDTH)
    assert len(found) < CHUNKS
    assert found == RECORDS[: len(found)]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_writing_goes_on_after_the_last_good_chunk(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("chain")
    written = data.draw(st.integers(0, CHUNKS))
    write(folder, range(written))
    name = data.draw(st.sampled_from([JOURNAL, SAMPLES]))
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with JournalWriter(folder, WIDTH) as journal:
        last = journal.last
    good = 0 if last is None else RECORDS.index(last) + 1
    write(folder, range(good, CHUNKS))
    assert read_journal(folder, WIDTH) == RECORDS
    whole = np.concatenate([chunk(k)[0] for k in range(CHUNKS)])
    assert (folder / SAMPLES).read_bytes() == whole.tobytes()


def test_rows_that_are_not_those_of_the_record_do_not_count(tmp_path):
    rows, record = chunk(0)
    with JournalWriter(tmp_path, WIDTH) as journal:
        journal.append(rows, record)
        journal.append(rows, replace(record, rows=8))
    (tmp_path / SAMPLES).write_bytes((rows + 1e-15).tobytes() + rows.tobytes())
    assert read_journal(tmp_path, WIDTH) == []
