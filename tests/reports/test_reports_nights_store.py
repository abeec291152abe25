"""The store of nights: nothing is lost, whatever happens to its file."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.nights import StoreError, append, fake, frame, read
from reports.nights.records import LineError, NewerError, Night, Ran, Row, from_line, to_line

NIGHTS = fake.make(5, 2)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: float(f"{x:.9g}"))


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "nights.jsonl"
    append(path, NIGHTS)
    return path


def ids(nights):
    return [night.id for night in nights]


def rounded(nights):
    """Return nights as the store keeps them: nine digits."""
    return tuple(from_line(to_line(night)) for night in nights)


def test_what_was_added_is_read(store):
    """Nights come back as they were, oldest first, to nine digits."""
    assert read(store).nights == rounded(NIGHTS)
    assert read(store).problems == ()


def test_a_store_that_is_not_there_has_no_nights(tmp_path):
    """A first night needs no preparation."""
    assert read(tmp_path / "none").nights == ()


def test_adding_twice_changes_nothing(store):
    """The same night again is left out; judged anew it takes the place of the old one."""
    before = store.read_bytes()
    append(store, NIGHTS)
    assert store.read_bytes() == before
    again = replace(NIGHTS[1], rows=NIGHTS[1].rows[:1])
    append(store, [again])
    assert read(store).nights[1] == rounded([again])[0]
    assert ids(read(store).nights) == ids(NIGHTS)


def test_order_is_that_of_the_nights(tmp_path):
    """Two branches' nights that were merged in any order are read in the order in which they ran."""
    path = tmp_path / "nights.jsonl"
    append(path, reversed(NIGHTS))
    assert ids(read(path).nights) == ids(NIGHTS)


@pytest.mark.parametrize("cut", [1, 10, 500])
def test_a_cut_store_loses_only_the_cut_night(store, cut):
    """The good part is readable, the rest is said, and the next night moves it aside and gets in."""
    content = store.read_bytes()
    store.write_bytes(content[:-cut])
    held = read(store)
    if cut == 1:  # only the line's end is missing: the night is whole
        assert ids(held.nights) == ids(NIGHTS)
        return
    assert ids(held.nights) == ids(NIGHTS[:-1])
    assert "line 5" in held.problems[0]
    said = append(store, [NIGHTS[-1]])
    assert "1 damaged line" in said[0]
    assert read(store).nights == rounded(NIGHTS)
    assert read(store).problems == ()
    aside = store.with_name("nights.jsonl.damaged").read_bytes()
    assert aside.strip() == content[:-cut].splitlines()[-1]


def test_a_cut_at_any_byte_keeps_the_lines_before(store):
    """However many bytes are left, exactly the whole lines are nights."""
    content = store.read_bytes()
    lines = content.split(b"\n")[:-1]
    whole = [sum(map(len, lines[: n + 1])) + n for n in range(len(lines))]
    for size in {*range(0, len(content), 397), *whole, *(one - 1 for one in whole)}:
        store.write_bytes(content[:size])
        expected = sum(one <= size for one in whole)
        if expected or not size:
            assert len(read(store).nights) == expected


def test_an_altered_line_is_set_aside(store):
    """A flipped digit is found by the checksum."""
    text = store.read_text().replace('"samples"', '"sampels"', 1)
    store.write_text(text)
    assert ids(read(store).nights) == ids(NIGHTS[1:])


def test_nights_of_a_newer_squall_are_left_alone(store):
    """They are not read, not moved, and said."""
    line = to_line(NIGHTS[0]).replace('"schema":1', '"schema":2')
    body = line.rpartition(',"crc":"')[0]
    newer = _sealed(body)
    with store.open("a") as file:
        file.write(newer + "\n")
    held = read(store)
    assert ids(held.nights) == ids(NIGHTS)
    assert "newer squall" in held.problems[0]
    append(store, [replace(NIGHTS[0], id="more", started="2027-01-01T00:00:00+00:00")])
    assert newer in store.read_text().splitlines()


def _sealed(body):
    import zlib

    return f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}'


def test_another_file_is_refused(tmp_path):
    """What is no store is neither read as an empty one nor written to."""
    path = tmp_path / "nights.jsonl"
    path.write_bytes(b"SQLite format 3\x00" + os.urandom(500))
    before = path.read_bytes()
    for use in (lambda: read(path), lambda: append(path, NIGHTS)):
        with pytest.raises(StoreError, match="--store"):
            use()
    assert path.read_bytes() == before


def test_a_folder_is_refused(tmp_path):
    """A folder in the store's place is said."""
    with pytest.raises(StoreError, match="cannot be"):
        append(tmp_path, NIGHTS)


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from reports.nights import append, fake
path, who = Path(sys.argv[1]), sys.argv[2]
for number, night in enumerate(fake.make(15, 3)):
    append(path, [replace(night, id=f"{who}-{number}")])
"""


def test_two_nights_at_once_both_get_in(tmp_path):
    """Processes that append at the same time lose nothing and tear nothing."""
    path = tmp_path / "nights.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who]) for who in "abc"]
    assert [one.wait(timeout=60) for one in writers] == [0, 0, 0]
    held = read(path)
    assert held.problems == ()
    assert set(ids(held.nights)) == {f"{who}-{number}" for who in "abc" for number in range(15)}


def test_pandas_reads_it(store):
    """As a frame with a row for each value; and any tool that reads lines of JSON can, without squall."""
    made = frame(read(store))
    assert len(made) == 5 * 2 * len(fake.METRICS)
    assert made.groupby("metric")["value"].median()["time to recover"] == pytest.approx(1.4, rel=0.1)
    assert isinstance(made["started"].dtype, pd.DatetimeTZDtype)
    first = json.loads(store.read_text().splitlines()[0])
    bare = pd.DataFrame(first["rows"], columns=first["columns"])
    assert bare["value"].tolist() == made[made["night"] == first["id"]]["value"].tolist()


@given(
    st.builds(
        Night,
        TEXTS,
        TEXTS,
        st.lists(st.builds(Ran, TEXTS, st.sampled_from(["pass", "fail", "unknown"]), st.booleans(), why=TEXTS)).map(
            tuple
        ),
        st.lists(st.builds(Row, TEXTS, TEXTS, NUMBERS, TEXTS, st.just(""), NUMBERS, NUMBERS)).map(tuple),
        NUMBERS,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_night_survives_its_line(night):
    """Whatever texts and numbers a night has, its line is one line and reads back the same."""
    line = to_line(night)
    assert "\n" not in line
    assert from_line(line) == night


def test_no_number_is_no_number():
    """NaN and infinities, which JSON does not have, are kept as missing."""
    night = Night("x", "", rows=(Row("a", "b", float("nan"), "s", "lower", low=float("inf")),))
    assert from_line(to_line(night)).rows[0] == Row("a", "b", None, "s", "lower")


@pytest.mark.parametrize("line", ["", "{}", "null", '{"schema":1}', _sealed('{"schema":1'), _sealed('{"schema":"x"')])
def test_a_line_that_is_no_night_is_said(line):
    """Neither a traceback nor an empty night."""
    with pytest.raises(LineError):
        from_line(line)
    with pytest.raises(NewerError):
        from_line(_sealed('{"schema":9'))


def test_the_lock_is_a_file_beside(store):
    """The store itself is only ever appended to, so it can live in a branch."""
    assert {path.name for path in Path(store).parent.iterdir()} == {"nights.jsonl", "nights.jsonl.lock"}
