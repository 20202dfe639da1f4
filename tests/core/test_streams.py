import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from idbounds.core.streams import Stream, gaussian_atoms, splitmix

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "streams.json").read_text())
streams = st.builds(Stream, seed=st.integers(0, 2**64 - 1), purpose=st.sampled_from(["a", "b"]), name=st.text(max_size=5))
kinds = st.sampled_from(["words", "splitmix", "uint32", "uint16", "normal"])


@given(stream=streams, kind=kinds, start=st.integers(0, 2**50), length=st.integers(0, 70), cut=st.integers(0, 70))
def test_any_slice_has_the_bits_of_the_whole(stream, kind, start, length, cut):
    read = getattr(stream, kind)
    cut = min(cut, length)
    whole = read(start, length)
    np.testing.assert_array_equal(whole, np.concatenate([read(start, cut), read(start + cut, length - cut)]))


@given(stream=streams, start=st.integers(0, 2**50), more=st.integers(0, 5))
def test_more_normals_than_are_made_at_once_take_the_atoms_of_their_words(stream, start, more):
    given = np.full(2**16 + more, np.nan, dtype=np.float32)
    drawn = stream.normal(start, given.size, out=given)
    assert drawn is given
    np.testing.assert_array_equal(drawn, gaussian_atoms()[stream.uint16(start, given.size)])


@given(stream=streams, start=st.integers(0, 1000), size=st.integers(1, 200))
def test_permutations_are_permutations(stream, start, size):
    assert sorted(stream.permutation(start, size)) == list(range(size))


def test_names_do_not_run_into_each_other():
    first, second = Stream(seed=0, purpose="ab", name="c"), Stream(seed=0, purpose="a", name="bc")
    assert not np.array_equal(first.words(0, 4), second.words(0, 4))


@pytest.mark.parametrize("name", sorted(GOLDEN["hashes"]))
def test_golden_hashes(name):
    """A change here makes every old message decode to another network: bump STREAM_VERSION instead."""
    kind, seed, purpose, tensor, start, count = name.split("|")
    drawn = getattr(Stream(seed=int(seed), purpose=purpose, name=tensor), kind)(int(start), int(count))
    assert hashlib.sha256(np.ascontiguousarray(drawn).tobytes()).hexdigest() == GOLDEN["hashes"][name]


def test_splitmix_is_the_published_generator():
    """The first outputs for the seed 1234567 as Rosetta Code gives them, from Vigna's reference implementation."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert splitmix(1234567, np.arange(5, dtype=np.uint64)).tolist() == expected


def test_splitmix_of_a_stream_counts_from_its_key():
    stream = Stream(seed=3, purpose="a", name="b")
    np.testing.assert_array_equal(stream.splitmix(10, 5), splitmix(stream.splitmix_key, np.arange(10, 15, dtype=np.uint64)))
    assert stream.splitmix_key != Stream(seed=3, purpose="a", name="c").splitmix_key


@pytest.mark.parametrize("positions", [[5, 0, 2**40, 2**63], [2**64 - 1]])
def test_splitmix_at_scattered_positions(positions):
    """Against the definition in Python's integers, which do not overflow."""
    mask = 2**64 - 1

    def word(position):
        z = (99 + (position + 1) * 0x9E3779B97F4A7C15) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    assert splitmix(99, np.array(positions, dtype=np.uint64)).tolist() == [word(position) for position in positions]


def test_golden_gaussian_table():
    assert hashlib.sha256(gaussian_atoms().tobytes()).hexdigest() == GOLDEN["gaussian_atoms"]


def test_gaussian_atoms_are_standard_normal():
    atoms = gaussian_atoms().astype(np.float64)
    assert atoms.sum() == 0
    assert abs(np.mean(atoms**2) - 1) < 1e-8
    assert np.mean(atoms**4) == pytest.approx(3, abs=1e-3)
    assert atoms.max() < 4.4
    distance = np.abs(stats.norm.cdf(np.sort(atoms)) - (np.arange(2**16) + 0.5) / 2**16).max()
    assert distance < 2**-16


def test_words_look_uniform():
    sixteen_bits = Stream(seed=1, purpose="test").uint16(0, 2**18)
    counts = np.bincount(sixteen_bits >> 8, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=str(seed)):
        Stream(seed=seed, purpose="x")


def test_negative_position_is_refused():
    with pytest.raises(ValueError, match="-1"):
        Stream(seed=0, purpose="x").words(-1, 3)
