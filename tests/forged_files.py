"""Linear classifiers on made-up points, whose errors numpy counts: certificates to forge by the hundred thousand."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from codes.example_spec import forged, format_2, vector

from idbounds.bounds import BOUNDS
from idbounds.claims import Counted, certificate_from, check
from idbounds.codes import DecodedMessage, decode_message, encode_message
from idbounds.core.errors import IdboundsError
from idbounds.core.values import CertificateFile, Complexity, Evaluation, RunSpec, Score

HEADER = 44
EVALUATION = Evaluation(device="cpu", dtype="float32", batch_size=8, threads=1)
HERE = format_2(dims=(3, 10, 40))
FILES = ("certificate.json", "spec.json", "message.idb")


@cache
def points(part: str, d: int) -> tuple[np.ndarray, np.ndarray]:
    n, seed = {"train": (100, 1), "test": (40, 2)}[part]
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((n, d)).astype(np.float32)
    return inputs, inputs @ vector(d, seed=0).astype(np.float32) + random.standard_normal(n).astype(np.float32) > 0


def count(decoded: DecodedMessage) -> Counted:
    scores = {}
    for part in ("train", "test"):
        inputs, labels = points(part, decoded.d)
        with np.errstate(over="ignore", invalid="ignore"):
            margin = inputs @ decoded.coefficients * np.where(labels, 1, -1)
        scores[part] = Score(errors=int(np.sum(~(margin > 0))), n=len(labels))
    return Counted(**scores, evaluation=EVALUATION)


@dataclass(frozen=True)
class Files:
    """A certificate, its specification and its message, as bytes."""

    certificate: bytes
    spec: bytes
    message: bytes


@cache
def honest(d: int = 10, code: str | None = None) -> Files:
    content = encode_message(quantized=vector(d), step_index=85, d=d, seed=2, spec=HERE, code=code)
    decoded = decode_message(content, spec=HERE)
    certificate = certificate_from(decoded, spec=HERE, counted=count(decoded), versions={"idbounds": "0.1.0"})
    return Files(certificate.canonical_json().encode(), HERE.canonical_json().encode(), content)


def outcome_of(files: Files, folder: Path) -> str:
    """Refused in one line, differs, or agrees and is true; nothing else may happen."""
    paths = [folder / name for name in FILES]
    for path, content in zip(paths, (files.certificate, files.spec, files.message), strict=True):
        path.write_bytes(content)
    try:
        claimed, spec = CertificateFile.read(paths[0]), RunSpec.read(paths[1])
        outcome = check(claimed, spec=spec, here=HERE, content=files.message, count=count, versions={})
    except IdboundsError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    if not outcome.agrees:
        return "differs"
    return "agrees" if is_true(claimed, spec, files.message) else "accepted a lie"


def is_true(claimed: CertificateFile, spec: RunSpec, content: bytes) -> bool:
    """Worked out anew from the bytes: counts, bits and both bounds, and what the words say of them."""
    decoded = decode_message(content, spec=spec)
    counted, num_bits = count(decoded), decoded.message.complexity.num_bits
    expected = (("occam_binomial", claimed.training, counted.train, decoded.message.complexity),)
    expected += (("test_set", claimed.held_out, counted.test, Complexity(ledger=())),)
    for family, one, score, complexity in expected:
        if (one.family, one.delta, one.complexity) != (family, spec.delta, complexity):
            return False
        if (one.evidence.errors, one.evidence.n) != (score.errors, score.n):
            return False
        value = BOUNDS[family].from_counts(errors=score.errors, n=score.n, complexity_nats=complexity.nats, delta=spec.delta)
        if one.value < float(value):
            return False
    return claimed.training.complexity.num_bits == num_bits <= 8 * (len(content) - HEADER)


#: What a forger puts where a value was: numbers at the ends of their types, other types, and text that is no JSON number.
ODD = (
    *(0, 1, -1, 2**31, 2**63, 2**64 - 1, 2**64, 10**30, 0.0, -0.0, 0.5, 1.0, 5e-324, 1e308, -1e308, 1 - 2**-53),
    *("", "x", "é\ud800", "0" * 64, "f" * 64, None, True, False, [], {}, [[]], {"record": "Task"}),
)


def mutated_json(data: bytes, random: Random) -> bytes:
    """Some values replaced, removed, repeated or moved; now and then the text itself damaged."""
    if random.random() < 0.15:
        return mutated_bytes(data, random)
    tree: Any = json.loads(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        parent, key = random.choice(places(tree))
        kind = random.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] += random.choice((1, -1, 1e-12, -1e-12, 0.5))
        elif kind == 2:
            other, where = random.choice(places(tree))
            parent[key] = copy.deepcopy(other[where])
        elif kind == 3 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            parent[key] = copy.deepcopy(random.choice(ODD))  # what is put in is changed further in the same tree
        if not tree:
            break
    return json.dumps(tree, ensure_ascii=True).encode()


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value."""
    found, level = [], [tree]
    while level:
        container = level.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        found += [(container, key) for key in keys]
        level += [container[key] for key in keys if isinstance(container[key], dict | list)]
    return found


def mutated_bytes(data: bytes, random: Random) -> bytes:
    altered = bytearray(data)
    for _ in range(random.choice((1, 1, 3))):
        place, kind = random.randrange(len(altered)), random.randrange(4)
        if kind == 0:
            altered[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            altered[place : place + 1] = random.choice((b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"[" * 2000, b'"', b"\0"))
        elif kind == 2:
            del altered[place : place + random.randrange(1, 20)]
            altered += random.randbytes(1)
        else:
            altered[place:place] = altered[: random.randrange(200)]
    return bytes(altered)


def improved(data: bytes, random: Random) -> bytes:
    """A few numbers of a certificate or a specification made better or worse, the rest left as it is."""
    tree = json.loads(data)
    numbers = [(one, key) for one, key in places(tree) if isinstance(one[key], int | float) and key != "schema_version"]
    for parent, key in random.sample(numbers, k=random.choice((1, 1, 2))):
        value = parent[key]
        if isinstance(value, int):
            parent[key] = max(0, value + random.choice((-1, 1, -5)))
        else:
            parent[key] = value * random.choice((0.5, 0.99, 1 - 1e-9, 1 - 2**-52, 1 + 2**-52, 1.5))
    return json.dumps(tree).encode()


def forged_trio(random: Random) -> Files:
    """Numbers improved with every hash right; or one to three files damaged, with the hashes put right in half of the cases."""
    files = honest(random.choice((3, 10, 40)), random.choice((None, "adaptive", "gaussian", "laplace")))
    if random.random() < 0.4:
        certificate = improved(files.certificate, random) if random.random() < 0.8 else files.certificate
        spec = improved(files.spec, random) if random.random() < 0.3 else files.spec
        return repaired(certificate, spec, files.message)
    which = random.choice(((0,), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)))
    certificate = mutated_json(files.certificate, random) if 0 in which else files.certificate
    spec = mutated_json(files.spec, random) if 1 in which else files.spec
    message = mutated_bytes(files.message, random) if 2 in which else files.message
    if random.random() < 0.5:
        return Files(certificate, spec, message)
    return repaired(certificate, spec, message)


def repaired(certificate: bytes, spec: bytes, message: bytes) -> Files:
    """As one forges who knows the formats: the message names this spec, the certificate names both, checksums are right."""
    try:
        declared, claimed = RunSpec.from_dict(json.loads(spec)), json.loads(certificate)
        message = forged(message[HEADER:], spec=declared)
        claimed.update(spec_sha256=declared.sha256, message_sha256=hashlib.sha256(message).hexdigest())
    except (ValueError, AttributeError, RecursionError, TypeError):  # not even a forger can repair these
        return Files(certificate, spec, message)
    return Files(json.dumps(claimed).encode(), spec, message)
