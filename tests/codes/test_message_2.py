from __future__ import annotations

import hashlib
import itertools
import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from example_spec import EVERY_CODE, HEADER, SPEC, SPEC_2, example_2, format_2, vector
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes import CODES, Quantized, decode_message, encode_message, shortest_message, step_grid
from idbounds.codes.bits import BitWriter
from idbounds.codes.streams import Content, Version2
from idbounds.core.errors import ConfigError, CorruptMessageError, DataError
from idbounds.core.values import Menu, RunSpec

#: In every code that format 2 gives a mass, and in one that a spec must declare.
GOLDEN = [json.loads((Path(__file__).parents[1] / "golden" / name).read_text()) for name in ("messages_2.json", "trellis.json")]


def test_there_is_a_golden_file_in_every_code():
    assert sorted(itertools.chain(*(golden["messages"] for golden in GOLDEN))) == sorted(CODES)


@pytest.mark.parametrize("golden", GOLDEN, ids=["by default", "declared"])
def test_golden_files_decode_to_their_coefficients(golden):
    """One file in each code; they must decode to the same bits for ever, and encode so."""
    spec = RunSpec.from_dict(golden["spec"])
    assert spec.sha256 == golden["spec_sha256"]
    for code, expected in golden["messages"].items():
        data = bytes.fromhex(expected["message_hex"])
        decoded = decode_message(data, spec=spec)
        assert decoded.code == code
        assert decoded.quantized.tolist() == expected["quantized"]
        assert [float(w).hex() for w in decoded.coefficients] == expected["coefficients_hex"]
        assert [item.bits for item in decoded.message.complexity.ledger] == expected["ledger_bits"]
        again = encode_message(
            quantized=decoded.quantized, step_index=decoded.step_index, d=decoded.d, seed=decoded.seed, spec=spec, code=code
        )
        assert again == data


def test_a_fresh_process_decodes_the_same(tmp_path):
    """Another working directory and hash seed, no torch, and nothing but the two files, in every code."""
    SPEC_2.write(tmp_path / "spec.json")
    for code in CODES:
        (tmp_path / f"{code}.idb").write_bytes(example_2(code=code))
    program = (
        "import sys, hashlib; from pathlib import Path\n"
        "from idbounds.codes import decode_message; from idbounds.core.values import RunSpec\n"
        "for path in sorted(Path().glob('*.idb')):\n"
        "    decoded = decode_message(path.read_bytes(), spec=RunSpec.read(Path('spec.json')))\n"
        "    print(hashlib.sha256(decoded.coefficients.tobytes()).hexdigest(), decoded.message.sha256)\n"
        "print('torch' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    here = [decode_message(example_2(code=code), spec=SPEC_2) for code in sorted(CODES)]
    lines = [f"{hashlib.sha256(one.coefficients.tobytes()).hexdigest()} {one.message.sha256}" for one in here]
    assert run.stdout.splitlines() == [*lines, "False"]


@pytest.mark.parametrize("code", sorted(CODES))
def test_format_2_round_trips_in_every_code(code):
    data = example_2(code=code)
    decoded = decode_message(data, spec=SPEC_2)
    assert (decoded.d, decoded.seed, decoded.step_index, decoded.code) == (200, 2, 85, code)
    assert decoded.message.code == CODES[code].title
    again = encode_message(quantized=decoded.quantized, step_index=85, d=200, seed=2, spec=SPEC_2, code=code)
    assert again == data


def test_the_shortest_code_is_chosen_and_paid_for():
    chosen = decode_message(example_2(), spec=SPEC_2)
    lengths = {}
    for code in CODES:
        if CODES[code].can_encode(vector(200)):
            lengths[code] = decode_message(example_2(code=code), spec=SPEC_2).message.complexity.num_bits
    assert chosen.message.complexity.num_bits == min(lengths.values()) == lengths[chosen.code]
    prices = {item.name: item.bits for item in chosen.message.complexity.ledger}
    mass = EVERY_CODE[chosen.code] / sum(EVERY_CODE.values())
    assert prices["code"] == pytest.approx(-math.log2(mass), abs=0.002)


@given(
    st.lists(st.integers(1, 1000), min_size=4, max_size=4),
    st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    st.lists(st.integers(1, 50), min_size=256, max_size=256),
    st.sampled_from(SPEC.menu.dims[:2]),
    st.integers(0, 255),
)
def test_a_choice_costs_its_declared_mass(dims, seeds, steps, d, step_index):
    """Each line within 2/1024 of -log2 of the mass; all lines together exactly the whole bits of the stream."""
    spec = format_2(dim_weights=tuple(dims), seed_weights=tuple(seeds), step_weights=tuple(steps), code_weights={"adaptive": 7})
    data = encode_message(quantized=vector(d), step_index=step_index, d=d, seed=1, spec=spec)
    complexity = decode_message(data, spec=spec).message.complexity
    bits = {item.name: item.bits for item in complexity.ledger}
    masses = {"dimension": dims[SPEC.menu.dims.index(d)] / sum(dims), "seed": seeds[1] / sum(seeds)}
    masses |= {"step": steps[step_index] / sum(steps), "code": 1.0}
    for name, mass in masses.items():
        assert bits[name] == pytest.approx(-math.log2(mass), abs=2 / 1024)
    assert 0 <= bits["ending"] < 2 + 1 / 1024
    assert complexity.num_bits == int(complexity.num_bits)
    assert 8 * (len(data) - HEADER) - 8 < complexity.num_bits <= 8 * (len(data) - HEADER)


def test_kraft_sum_of_whole_streams_is_at_most_one():
    """Over d, seed, step, code and every vector of d = 1 and 2 up to a magnitude; in exact fractions."""
    stream, words = Version2(Menu(dims=(1, 2), seeds=(0, 1), code_weights=EVERY_CODE)), []
    for d, seed, step_index, code in itertools.product((1, 2), (0, 1), (0, 255), sorted(CODES)):
        for values in itertools.product(range(-3, 4), repeat=d):
            symbols = np.array(values)
            if CODES[code].can_encode(symbols):
                writer = BitWriter()
                stream.write(Content(d, seed, code, Quantized(symbols, step_index)), writer)
                data = int.from_bytes(writer.to_bytes(), "big") >> (-writer.num_bits % 8)
                words.append(f"{data:0{writer.num_bits}b}")
    assert sum(Fraction(1, 2 ** len(word)) for word in words) <= 1
    words.sort()
    assert len(set(words)) == len(words)
    assert not any(later.startswith(earlier) for earlier, later in itertools.pairwise(words))


def test_weights_are_checked():
    for weights in ({"dim_weights": (1, 2)}, {"step_weights": (1,) * 64}, {"dim_weights": (2**30, 1, 1, 1)}):
        with pytest.raises(ConfigError, match="weight"):
            encode_message(quantized=vector(3), step_index=0, d=3, seed=0, spec=format_2(**weights))
    with pytest.raises(ConfigError, match="unknown code 'huffman'"):
        encode_message(quantized=vector(3), step_index=0, d=3, seed=0, spec=format_2(code_weights={"huffman": 1}))
    with pytest.raises(ConfigError, match="code adaptive is not in the spec's menu"):
        example_2(code="adaptive", spec=format_2(code_weights={"ternary": 1}))
    with pytest.raises(ConfigError, match="none of the spec's codes ternary"):
        example_2(spec=format_2(code_weights={"ternary": 1}))
    with pytest.raises(DataError, match="declare message_format 2 with weights"):
        RunSpec.from_dict(SPEC.to_dict() | {"menu": SPEC.menu.model_copy(update={"seed_weights": (1, 1, 1)}).model_dump()})


def test_a_message_is_read_in_the_format_that_its_spec_declares_only():
    """Either format alone satisfies Kraft's inequality; a reader of both at once would not."""
    forged_head = b"IDB\x02" + bytes.fromhex(SPEC.sha256)
    stream = example_2()[HEADER:]
    data = forged_head + hashlib.sha256(forged_head + stream).digest()[:8] + stream
    with pytest.raises(CorruptMessageError, match="format version 2, its spec declares 1"):
        decode_message(data, spec=SPEC)


@given(st.integers(0, 2**32), st.floats(0.05, 2.0), st.sampled_from(SPEC.menu.dims[:3]))
def test_the_shortest_message_keeps_the_error(seed, error, d):
    w = np.random.default_rng(seed).standard_t(4, d)
    data = shortest_message(w, max_rms_error=error, d=d, seed=0, spec=SPEC_2)
    decoded = decode_message(data, spec=SPEC_2)
    assert math.sqrt(np.mean((decoded.coefficients - w) ** 2)) <= error
    grid = step_grid(SPEC_2)
    simple = next(
        index
        for index in range(grid.NUM_STEPS)
        if np.mean((grid.quantize(w, step=grid.step(index)) * grid.step(index) - w) ** 2) < (0.999 * error) ** 2
    )
    uniform = encode_message(
        quantized=grid.quantize(w, step=grid.step(simple)), step_index=simple, d=d, seed=0, spec=SPEC_2, code="adaptive"
    )
    assert len(data) <= len(uniform)


def test_the_shortest_message_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="3 finite numbers"):
        shortest_message([1.0, np.nan, 0.0], max_rms_error=1.0, d=3, seed=0, spec=SPEC_2)
    with pytest.raises(ConfigError, match="allow a larger error"):
        shortest_message([1.0, 0.1, 1 / 3], max_rms_error=0.0, d=3, seed=0, spec=SPEC_2)
