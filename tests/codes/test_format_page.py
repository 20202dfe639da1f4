"""A second decoder, written from docs/format.md with none of idbounds.codes: the page is enough and its formulas are true."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import pytest

GOLDEN, DECLARED = (
    json.loads((Path(__file__).parents[1] / "golden" / name).read_text()) for name in ("messages_2.json", "trellis.json")
)
MASSES = {"adaptive": 4, "codebook": 1, "e8": 3, "enumerative": 1, "gaussian": 4, "laplace": 1, "ternary": 1, "two_steps": 1}
UNIT = 2**96


class Reader:
    """The arithmetic decoder, one doubling at a time."""

    def __init__(self, data):
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.used, self.width = 0, 2**62
        self.value = int(self.bits[:62].ljust(62, "0"), 2)

    def symbol(self, weights):
        ends = [0, *accumulate(weights)]
        total = ends[-1]
        unit = self.width // total
        point = min(self.value // unit, total - 1)
        found = next(i for i, end in enumerate(ends[1:]) if point < end)
        self.value -= unit * ends[found]
        self.width = self.width - unit * ends[found] if ends[found + 1] == total else unit * weights[found]
        while self.width < 2**61:
            ahead = self.used + 62
            self.value = 2 * self.value + (self.bits[ahead : ahead + 1] == "1")
            self.width, self.used = 2 * self.width, self.used + 1
        return found

    def one_of(self, n):
        return self.symbol([1] * n)

    def signed(self, magnitude):
        return -magnitude if magnitude and self.one_of(2) else magnitude

    def gamma(self):
        zeros, number = 0, 1
        while not self.one_of(2):
            zeros += 1
        for _ in range(zeros):
            number = 2 * number + self.one_of(2)
        return number

    def places(self, n, ones):
        chosen = []
        for left in range(n, 0, -1):
            chosen.append(self.symbol([left - ones, ones]))
            ones -= chosen[-1]
        return chosen


def adaptive(reader, d, levels=32):
    numbers, values = [[1, 1] for _ in range(levels)], []
    for _ in range(d):
        magnitude = 0
        while magnitude < levels:
            larger = reader.symbol(numbers[magnitude])
            numbers[magnitude][larger] += 2
            if not larger:
                break
            magnitude += 1
        if magnitude == levels == 32:
            magnitude = 31 + reader.gamma()
        values.append(reader.signed(magnitude))
    return values


def ternary(reader, d):
    return adaptive(reader, d, levels=1)


def enumerative(reader, d):
    magnitudes = {}
    for level in range(32):
        left = [i for i in range(d) if i not in magnitudes]
        if left:
            equal = reader.places(len(left), reader.one_of(len(left) + 1))
            magnitudes |= {i: level for i, is_equal in zip(left, equal, strict=True) if is_equal}
    for i in range(d):
        if i not in magnitudes:
            magnitudes[i] = 31 + reader.gamma()
    return [reader.signed(magnitudes[i]) for i in range(d)]


def codebook(reader, d):
    num_entries = reader.one_of(16) + 1
    entries = [place - 127 for place, is_entry in enumerate(reader.places(255, num_entries)) if is_entry]
    numbers, values = [1] * num_entries, []
    for _ in range(d):
        index = reader.symbol(numbers)
        numbers[index] += 2
        values.append(entries[index])
    return values


def two_steps(reader, d):
    cut, shifts = reader.one_of(d) + 1, (reader.one_of(16), reader.one_of(16))
    return [value * 2 ** shifts[i >= cut] for i, value in enumerate(adaptive(reader, d))]


def densities(scale, *, gaussian):
    p, q = 2 * (4 + scale % 4), 2 ** (scale // 4)
    term, series, k = UNIT, 0, 0
    while term:
        series, k = series + term, k + 1
        term = term * p // (q * k)
    s = UNIT**2 // series
    growth = s * s // UNIT if gaussian else UNIT
    v = [UNIT]
    while len(v) < 256:
        v.append(v[-1] * s // UNIT)
        s = s * growth // UNIT
    return v


def discretized(reader, d, *, gaussian):
    first, *others = densities(reader.one_of(64), gaussian=gaussian)
    weights = [first, *(2 * v for v in others)]
    table = [1 + u * (2**24 - 257) // sum(weights) for u in weights]
    table.append(2**24 - sum(table))
    values = []
    for _ in range(d):
        magnitude = reader.symbol(table)
        values.append(reader.signed(255 + reader.gamma() if magnitude == 256 else magnitude))
    return values


def e8(reader, d):
    v = densities(reader.one_of(64), gaussian=True)
    members = {residue: [x for x in range(-255, 256) if x % 4 == residue] for residue in range(4)}
    sums = {residue: sum(v[abs(x)] for x in members[residue]) for residue in members}
    a, b, c = sums[0], sums[2], sums[1]

    def choice(p, q):
        first = min(max(2**24 * p // (p + q), 1), 2**24 - 1)
        return reader.symbol([first, 2**24 - first])

    def within(residue):
        table = [1 + v[abs(x)] * (2**24 - 128) // sums[residue] for x in members[residue]]
        return members[residue][reader.symbol(table)]

    values = []
    for _ in range(d // 8):
        odd, s = choice(((a + b) ** 8 + (a - b) ** 8) // 2, (2 * c) ** 8 // 2), 0
        p, q = (c, c) if odd else (a, b)
        for m in reversed(range(8)):
            ways = [((p + q) ** m + (-1) ** parity * (p - q) ** m) // 2 for parity in (0, 1)]
            upper = choice(p * ways[s], q * ways[1 - s]) if m else s
            s ^= upper
            values.append(within(odd + 2 * upper))
    return values + [within(2 * choice(a, b)) for _ in range(d % 8)]


def trellis(reader, d):
    v = densities(reader.one_of(64), gaussian=True)
    values, q = [], 0
    for _ in range(d):
        members = [x for x in range(-255, 256) if x % 2 == q % 2]
        total = sum(v[abs(x)] for x in members)
        x = members[reader.symbol([1 + v[abs(x)] * (2**24 - 256) // total for x in members])]
        values.append(x)
        q = q // 2 ^ (x % 2) * 0b10100110 ^ (x % 4 // 2) * 0b1111001
    return values


DECODERS = {"adaptive": adaptive, "ternary": ternary, "enumerative": enumerative, "codebook": codebook, "two_steps": two_steps}
DECODERS |= {"e8": e8, "trellis": trellis, "gaussian": lambda reader, d: discretized(reader, d, gaussian=True)}
DECODERS |= {"laplace": lambda reader, d: discretized(reader, d, gaussian=False)}


def decoded(golden, name, masses):
    menu = golden["spec"]["menu"]
    reader = Reader(bytes.fromhex(golden["messages"][name]["message_hex"])[44:])
    d, _seed = menu["dims"][reader.one_of(len(menu["dims"]))], menu["seeds"][reader.one_of(len(menu["seeds"]))]
    assert reader.one_of(256) == 85
    assert sorted(masses)[reader.symbol([masses[code] for code in sorted(masses)])] == name
    return DECODERS[name](reader, d)


@pytest.mark.parametrize("name", sorted(MASSES))
def test_the_page_is_enough_to_decode(name):
    assert decoded(GOLDEN, name, MASSES) == GOLDEN["messages"][name]["quantized"]


def test_the_page_is_enough_to_decode_a_code_that_the_menu_declares():
    masses = DECLARED["spec"]["menu"]["code_weights"]
    assert decoded(DECLARED, "trellis", masses) == DECLARED["messages"]["trellis"]["quantized"]
