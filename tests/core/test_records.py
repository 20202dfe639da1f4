"""Records: frozen, canonical, versioned, written whole or not at all."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.records import Record, write_atomically


class Example(Record):
    name: str
    number: float = 1.0
    values: tuple[int, ...] = ()


examples = st.builds(
    Example,
    name=st.text(max_size=10),
    number=st.floats(allow_nan=False, allow_infinity=False),
    values=st.lists(st.integers(-(2**70), 2**70), max_size=4).map(tuple),
)


@given(record=examples)
def test_json_round_trip_keeps_every_bit(record):
    again = Example.from_dict(json.loads(record.canonical_json()))
    assert again == record
    assert again.sha256 == record.sha256
    assert again.canonical_json() == record.canonical_json()


@given(one=examples, other=examples)
def test_two_records_are_equal_exactly_if_their_json_is(one, other):
    assert (one.canonical_json() == other.canonical_json()) == (one.sha256 == other.sha256)
    if one != other:
        assert one.sha256 != other.sha256


def test_a_file_round_trip_and_its_name_in_errors(tmp_path):
    record = Example(name="é θ₀", number=0.1 + 0.2, values=(1, 2))
    path = record.write(tmp_path / "new" / "example.json")
    assert Example.read(path) == record
    assert "θ₀" in path.read_text(encoding="utf-8")
    with pytest.raises(DataError, match=r"no such file: .*absent.json"):
        Example.read(tmp_path / "absent.json")
    path.write_text("{")
    with pytest.raises(DataError, match=r"example.json is not readable JSON"):
        Example.read(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match=r"example.json: expected a JSON object for Example, got list"):
        Example.read(path)


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Example(name="a").name = "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"record": "Other"}, "expected a Example record, got 'Other'"),
        ({"record": None}, "expected a Example record, got None"),
        ({"schema_version": 2}, "schema version 2, this idbounds reads 1: use the version of idbounds that wrote it"),
        ({"schema_version": None}, "schema version None"),
        ({"colour": 1}, "colour: Extra inputs are not permitted, got 1"),
        ({"number": "many"}, "number: .*got 'many'"),
        ({"number": float("nan")}, "number: .*got nan"),
        ({"values": [1, 2.5]}, "values.1: .*got 2.5"),
    ],
)
def test_what_is_not_the_record_is_refused_by_value(change, message):
    with pytest.raises(DataError, match=message):
        Example.from_dict({**Example(name="a").to_dict(), **change})


@pytest.mark.parametrize("name", ["\name", "\x1b[2J", "x" * 10_000])
def test_names_that_a_stranger_chose_are_told_in_one_short_line(name):
    """The first is what scripts/fuzz.py found."""
    with pytest.raises(DataError, match="Extra inputs are not permitted") as caught:
        Example.from_dict({**Example(name="a").to_dict(), name: 1})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_wrong_arguments_are_named_in_one_line():
    with pytest.raises(ConfigError, match=r"number: .*got 'x'; values: .*got 3") as caught:
        Example.checked(name="a", number="x", values=3)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Example.checked(name="a", number="x" * 10_000)
    assert len(str(caught.value)) < 250


def test_canonical_json_does_not_depend_on_the_process():
    program = (
        "from idbounds.core.values import ProjectionSpec\n"
        "print(ProjectionSpec(family='f', version=1, dim=2, seed=3, layout=(('a', 5),), options={'z': 1, 'b': 2}).sha256)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(hashes) == 1


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = write_atomically(tmp_path / "file", b"first, and longer")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", b"old")

    def full_disk(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"cannot write .*file/inside.json: .*; choose another output folder"):
        write_atomically(tmp_path / "file" / "inside.json", b"")
