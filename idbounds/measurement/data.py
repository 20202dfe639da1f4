"""Examples with labels, divided into splits without duplicates; labelled text from tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.streams import Stream
from idbounds.core.values import Split


class Examples(Protocol):
    """Examples of one split, as they are before a model's own input is made of them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Indices into the label names, shape (n,)."""

    def __len__(self) -> int:
        """Number of examples."""

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The examples at these positions, in this order."""

    def describe(self, *, majority_label: int) -> Split:
        """Size, hash of the examples in order, and the errors of predicting `majority_label` throughout."""


@dataclass(frozen=True)
class LabelledText:
    """Examples of one split: `texts[i]` is a tuple of one or two strings, `labels[i]` an index into the label names."""

    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> LabelledText:
        """The examples at these positions, in this order."""
        return LabelledText(tuple(self.texts[i] for i in indices), self.labels[np.asarray(indices, dtype=np.int64)])

    def describe(self, *, majority_label: int) -> Split:
        """Size, hash of the examples in order, and the errors of predicting `majority_label` throughout."""
        lines = "\n".join(json.dumps([*text, int(label)]) for text, label in zip(self.texts, self.labels, strict=True))
        return Split(
            n=len(self),
            sha256_of_examples=hashlib.sha256(lines.encode()).hexdigest(),
            majority_errors=int(np.sum(self.labels != majority_label)),
        )


@dataclass(frozen=True)
class Splits:
    """Train, validation and test examples that have none in common, and the names of the labels."""

    train: Examples
    validation: Examples
    test: Examples
    label_names: tuple[str, ...]
    duplicates_removed: int = 0
    prefix: Examples | None = None  # of the sample too, for training θ₀ beforehand; in no other split

    @property
    def majority_label(self) -> int:
        """The commonest label of the training split (the smallest index among equals)."""
        return int(np.bincount(self.train.labels, minlength=len(self.label_names)).argmax())

    def limited(self, *, max_train: int | None, max_validation: int | None, max_test: int | None, seed: int) -> Splits:
        """At most so many examples of each split, drawn without replacement in an order fixed by `seed`."""
        limited = replace(
            self,
            train=_draw(self.train, max_train, seed, "train"),
            validation=_draw(self.validation, max_validation, seed, "validation"),
            test=_draw(self.test, max_test, seed, "test"),
        )
        limited.check()
        return limited

    def with_prefix(self, fraction: float, *, seed: int) -> Splits:
        """A share of the training split, the first in an order fixed by `seed`, taken out of it. Raises DataError."""
        if not fraction:
            return self
        n = len(self.train)
        order, size = Stream(seed=seed, purpose="data/prefix").permutation(0, n), round(fraction * n)
        if not 0 < size < n:
            raise DataError(f"prefix_fraction = {fraction} of {n} training examples is {size}; choose another fraction")
        prefix, rest = (self.train.take(np.sort(part)) for part in (order[:size], order[size:]))
        cut = replace(self, train=rest, prefix=prefix)
        cut.check()
        return cut

    def check(self) -> None:
        """Refuse an empty split and a class without a training example."""
        for name in ("train", "validation", "test"):
            if not len(getattr(self, name)):
                raise DataError(f"the {name} split is empty; give it examples or a larger share")
        counts = np.bincount(self.train.labels, minlength=len(self.label_names))
        for name, count in zip(self.label_names, counts, strict=True):
            if not count:
                raise DataError(f"class {name!r} has no training example; add some or remove the label")


_Examples = TypeVar("_Examples", bound=Examples)


def _draw(examples: _Examples, limit: int | None, seed: int, name: str) -> _Examples:
    if limit is None or limit >= len(examples):
        return examples
    order = Stream(seed=seed, purpose="data/subset", name=name).permutation(0, len(examples))
    return examples.take(np.sort(order[:limit]))


def read_table(path: Path) -> pd.DataFrame:
    """A csv, tsv, jsonl or parquet file (also .gz of the first three) as a table of raw values."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    suffix = [ending for ending in path.suffixes if ending != ".gz"][-1:]
    try:
        reader = _READERS[suffix[0]]
    except (IndexError, KeyError):
        raise DataError(f"{path.name}: cannot tell the format; name it {', '.join(_READERS)}") from None
    try:
        return reader(path)
    except (ValueError, OSError, ImportError) as error:
        raise DataError(f"{path} cannot be read as {suffix[0]}: {str(error).splitlines()[0]}") from None


def _delimited(separator: str, quoting: Literal[0, 3]) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        return pd.read_csv(path, sep=separator, quoting=quoting, dtype=str, keep_default_na=False, encoding="utf-8-sig")

    return read


#: csv follows RFC 4180; tsv as GLUE writes it: a quotation mark is an ordinary character.
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _delimited(",", 0),
    ".tsv": _delimited("\t", 3),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}


RawExamples = list[tuple[tuple[str, ...], str]]


def raw_examples(table: pd.DataFrame, *, text_columns: Sequence[str], label_column: str, where: str) -> RawExamples:
    """(texts, label name) for each row; refuses missing columns and empty cells. Rows are counted from 1, without the head."""
    for column in (*text_columns, label_column):
        if column not in table.columns:
            raise DataError(f"{where} has no column {column!r}; it has {', '.join(map(repr, table.columns))}")
    chosen = table[[*text_columns, label_column]]
    empty = (chosen.isna() | chosen.astype(str).apply(lambda column: column.str.strip() == "")).to_numpy()
    if empty.any():
        row, column = np.argwhere(empty)[0]
        raise DataError(f"{where}: column {chosen.columns[column]!r} of row {row + 1} is empty; fill it or drop the row")
    return [(tuple(str(text) for text in row[:-1]), str(row[-1])) for row in chosen.itertuples(index=False, name=None)]


def make_splits(
    train: RawExamples,
    *,
    validation: RawExamples | None = None,
    test: RawExamples | None = None,
    fractions: tuple[float, float] = (0.15, 0.25),
    seed: int,
) -> Splits:
    """Remove duplicate texts across all splits, cut missing splits from the training examples, index the labels.

    Of equal texts the first is kept, in the order test, validation, train, so that nothing in the test
    split was trained on. Label names are those of the training examples, sorted.

    Args:
        fractions: shares of the training examples that become validation and test where those are not given.
    """
    names = tuple(sorted({label for _, label in train}, key=_label_order))
    if len(names) < 2:
        raise DataError(f"the training examples have {len(names)} label(s); classification needs at least 2")
    given = {"train": train, "validation": validation, "test": test}
    parts = {name: examples for name, examples in given.items() if examples is not None}
    chosen, removed = divided(
        {name: [_folded(texts) for texts, _ in examples] for name, examples in parts.items()},
        fractions=dict(zip(("validation", "test"), fractions, strict=True)),
        seed=seed,
    )
    indexed = {name: _index_labels([parts[source][i] for i in where], names, name) for name, (source, where) in chosen.items()}
    splits = Splits(**indexed, label_names=names, duplicates_removed=removed)
    splits.check()
    return splits


def divided(
    keys: Mapping[str, Sequence[Hashable]], *, fractions: Mapping[str, float], seed: int
) -> tuple[dict[str, tuple[str, list[int]]], int]:
    """Which examples of which given part make up each split, and how many duplicates were left out.

    Of equal keys the first is kept, in the order test, validation, train. What is given as train is shuffled by `seed`, and a
    split that is not given takes its share of it.

    Args:
        keys: of the parts ``train`` and perhaps ``validation`` and ``test``: equal ones mark equal examples.
        fractions: share of the training examples that each split takes where it is not given.

    Returns ({split: (part, positions in it)}, duplicates).
    """
    if not (min(fractions.values()) > 0 and sum(fractions.values()) < 1):
        raise ConfigError(
            f"the fractions for {' and '.join(fractions)} must be positive and sum to less than 1, "
            f"got {tuple(fractions.values())}"
        )
    seen: set[Hashable] = set()
    kept = {name: _first_of_each(keys[name], seen) for name in ("test", "validation", "train") if name in keys}
    removed = sum(map(len, keys.values())) - sum(map(len, kept.values()))
    count = len(kept["train"])
    shuffled = [kept["train"][i] for i in Stream(seed=seed, purpose="data/split").permutation(0, count)]
    chosen: dict[str, tuple[str, list[int]]] = {}
    for name, fraction in fractions.items():
        if name not in kept:
            size = round(fraction * count)
            chosen[name], shuffled = ("train", shuffled[:size]), shuffled[size:]
    given = {name: (name, kept[name]) for name in kept if name != "train"}
    return {**given, **chosen, "train": ("train", shuffled)}, removed


def _label_order(label: str) -> tuple[int, float, str]:
    """Numbers by value, then words by alphabet, so that 10 comes after 9."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _folded(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Texts without differences of white space, which no tokenizer here sees."""
    return tuple(" ".join(text.split()) for text in texts)


def _first_of_each(keys: Sequence[Hashable], seen: set[Hashable]) -> list[int]:
    """Positions of the keys that were not seen before; they are seen afterwards."""
    kept = []
    for position, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            kept.append(position)
    return kept


def _index_labels(examples: RawExamples, names: tuple[str, ...], split: str) -> LabelledText:
    index = {name: position for position, name in enumerate(names)}
    unknown = [label for _, label in examples if label not in index]
    if unknown:
        raise DataError(
            f"the {split} split has label {unknown[0]!r}, which no training example has; the labels are {', '.join(names)}"
        )
    labels = np.array([index[label] for _, label in examples], dtype=np.int64)
    return LabelledText(tuple(texts for texts, _ in examples), labels)
