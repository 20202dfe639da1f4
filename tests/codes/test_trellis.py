"""What the trellis and its quantiser are for: distance between vectors, the cheapest of them, fewer bits at an error."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np
import pytest
from example_spec import SPEC_2, format_2
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes import decode_message, get_code, shortest_message
from idbounds.codes.quantizers import FineStep, e8
from idbounds.codes.trellis import NUM_STATES, next_state
from idbounds.codes.viterbi import trellis
from idbounds.core.errors import ConfigError

GRID = FineStep()
ONE = GRID.nearest_index(1.0)
TRELLIS = get_code("trellis")


def test_the_code_has_the_distance_of_its_source():
    """Ungerboeck 1987, Table I, 256 states: at least 16 between points of one residue, and 17 between other paths."""
    apart = {next_state(0, 2): 4}
    open_states = [(4, next_state(0, 2))]
    while open_states:
        square, state = heapq.heappop(open_states)
        if state == 0:
            assert square == 17
            return
        if square > apart[state]:
            continue
        for residue in (state % 2, state % 2 + 2):
            # The least square of a difference with this residue modulo 4; the code is linear, so 0 stands for any path.
            further, target = square + (0, 1, 4, 1)[residue], next_state(state, residue)
            if further < apart.get(target, math.inf):
                apart[target] = further
                heapq.heappush(open_states, (further, target))


def test_every_state_is_entered_from_two():
    entered = [next_state(state, residue) for state in range(NUM_STATES) for residue in (state % 2, state % 2 + 2)]
    assert sorted(entered) == sorted([*range(NUM_STATES)] * 2)


@given(st.lists(st.floats(-2.4, 2.4), min_size=1, max_size=4))
def test_no_vector_of_the_trellis_is_nearer(w):
    """Against all of them: without an error to aim at, bits cost nothing and the nearest is the cheapest."""
    found = trellis(w, step_index=ONE, max_rms_error=0.0, grid=GRID).symbols
    assert TRELLIS.can_encode(found)
    vectors = (np.array(v) for v in itertools.product(range(-4, 5), repeat=len(w)))
    nearest = min(np.sum((vector - w) ** 2) for vector in vectors if TRELLIS.can_encode(vector))
    assert np.sum((found - w) ** 2) == pytest.approx(nearest, abs=1e-12)


@given(st.integers(0, 2**32), st.floats(0.1, 0.7), st.sampled_from([100, 300]))
def test_the_error_aimed_at_is_about_what_comes_out(seed, error, d):
    """At a step near the coarsest with that error, and at a finer one."""
    w = np.random.default_rng(seed).standard_normal(d)
    size = math.sqrt(np.mean(w**2))
    for step in (1.4 * error, 0.5 * error):
        index = GRID.nearest_index(step)
        found = trellis(w, step_index=index, max_rms_error=error * size, grid=GRID).symbols * GRID.step(index)
        assert math.sqrt(np.mean((found - w) ** 2)) < 1.15 * error * size


@pytest.mark.parametrize(("d", "error", "share"), [(200, 0.45, 0.93), (1000, 0.45, 0.9), (1000, 0.1, 0.97)])
def test_gaussians_take_fewer_bits_than_in_any_other_code(d, error, share):
    """Over two vectors of d Gaussians; errors in standard deviations."""
    others, every = format_2(), SPEC_2
    bits = []
    for seed in range(2):
        w = np.random.default_rng(seed).standard_normal(d)
        messages = [(shortest_message(w, max_rms_error=error, d=d, seed=0, spec=spec), spec) for spec in (others, every)]
        bits.append([decode_message(data, spec=spec).message.complexity.num_bits for data, spec in messages])
    without, with_it = np.sum(bits, axis=0)
    assert with_it < share * without


def test_a_spec_may_declare_nothing_else():
    spec = format_2(code_weights={"trellis": 1})
    data = shortest_message([1.0, -0.5, 0.25], max_rms_error=0.1, d=3, seed=0, spec=spec)
    assert np.sqrt(np.mean((decode_message(data, spec=spec).coefficients - [1.0, -0.5, 0.25]) ** 2)) <= 0.1


def test_an_error_that_zeros_keep_gives_zeros():
    assert not np.any(trellis([1.0, -1.0], step_index=ONE, max_rms_error=1.0, grid=GRID).symbols)
    assert not np.any(trellis([0.0, 0.0], step_index=ONE, max_rms_error=0.0, grid=GRID).symbols)


def test_what_is_no_path_is_refused():
    """The lattice's points are none."""
    points = e8(3 * np.random.default_rng(0).standard_normal(40), step_index=ONE, grid=GRID).symbols
    assert not TRELLIS.can_encode(points)
    with pytest.raises(ConfigError, match="no path of the trellis"):
        TRELLIS.encode(points, coder=None)
    assert not TRELLIS.can_encode(np.array([256]))
    for error in (-0.1, math.nan):
        with pytest.raises(ConfigError, match="at least 0, got"):
            trellis([1.0, -1.0], step_index=ONE, max_rms_error=error, grid=GRID)
    with pytest.raises(ConfigError, match="nan"):
        trellis([1.0, math.nan], step_index=ONE, max_rms_error=0.1, grid=GRID)
