"""Against constriction, another implementation of entropy coding: the same table costs the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.codes.discretized import NUM_SCALES, TOTAL, frequencies

constriction = pytest.importorskip("constriction")


@given(st.integers(0, NUM_SCALES - 1), st.sampled_from([1, 2]), st.integers(0, 2**32))
def test_length_is_that_of_constrictions_range_coder(scale, power, seed):
    """constriction fills words of 32 bits and ends on at most two of them; its tables have 24 bits, as ours."""
    starts = np.array(frequencies(scale, power).starts)
    masses = np.diff(starts) / TOTAL
    symbols = np.random.default_rng(seed).choice(len(masses), size=400, p=masses)
    theirs = constriction.stream.queue.RangeEncoder()
    theirs.encode(symbols.astype(np.int32), constriction.stream.model.Categorical(masses, perfect=False))
    coder, writer = ArithmeticEncoder(), BitWriter()
    for symbol in symbols.tolist():
        coder.encode(int(starts[symbol]), int(starts[symbol + 1] - starts[symbol]), total=TOTAL)
    coder.finish(writer)
    assert -2 <= theirs.num_bits() - writer.num_bits <= 64
    reader = BitReader(writer.to_bytes())
    decoder = ArithmeticDecoder(reader)
    for symbol in symbols.tolist():
        assert decoder.find(starts.tolist()) == symbol
    decoder.finish()
    assert reader.position == writer.num_bits
