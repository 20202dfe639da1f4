"""JSON of strangers: bounded, and read in one way only."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core import json_file
from idbounds.core.errors import DataError
from idbounds.core.json_file import read_bounded, read_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(value=values)
def test_what_json_can_say_is_read_as_it_is(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b'{"b": {"a": 1, "a": 1}}', "the key 'a' is given twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "a number is too large"),
        (b'{"a": 18446744073709551616}', "a whole number of 65 bits, at most 64"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not readable JSON"),
        (b'{"a": "\\ud800"}', "not readable JSON"),
        (b'{"\\ud800": 1}', "not readable JSON"),
        (b"[" * 70 + b"]" * 70, "nested more than 64 deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 64 deep"),
        (b'{"a":' * 100_000, "nested more than 64 deep"),
        (b"\xff\xfe\x00", "not readable JSON"),
        (b"", "not readable JSON"),
    ],
)
def test_what_readers_disagree_about_is_refused(tmp_path, content, reason):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as refusal:
        read_json(path)
    assert len(str(refusal.value)) < 300


def test_a_gigantic_file_is_not_read(tmp_path):
    path = tmp_path / "file.json"
    with path.open("wb") as stream:
        stream.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(DataError, match=r"1099511627776 bytes, at most 16777216 are read"):
        read_json(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_bounded(tmp_path / "pipe", most_bytes=10)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(DataError, match="no regular file"):
        read_json(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "absent.json")


def test_many_keys_are_read_in_time_linear_in_their_number(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps({str(i): 0 for i in range(500_000)} | {"last": 1}))
    assert path.stat().st_size < json_file.MOST_BYTES
    assert len(read_json(path)) == 500_001
