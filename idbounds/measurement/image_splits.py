"""Labelled images of a data set: the standard folder of idx files, duplicates removed, split, described by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idbounds.core.errors import DataError
from idbounds.core.model_spec import ImageInput
from idbounds.core.values import Split
from idbounds.measurement.batches import Arrays
from idbounds.measurement.data import Splits, divided
from idbounds.measurement.images import images_from_arrays, read_idx


@dataclass(frozen=True)
class LabelledImages:
    """Examples of one split: `images` as stored, (n, height, width) or (n, height, width, channels), and integer `labels`."""

    images: NDArray[Any]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim not in (3, 4) or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                "images must have shape (n, height, width), or (n, height, width, channels), and labels (n,), "
                f"got {self.images.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, height, width, *channels = self.images.shape
        return (channels[0] if channels else 1, height, width)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> LabelledImages:
        """The examples at these positions, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return LabelledImages(self.images[chosen], self.labels[chosen])

    def describe(self, *, majority_label: int) -> Split:
        """Size, hash of type, shape, pixels and labels in order, and the errors of predicting `majority_label` throughout."""
        pixels = self.images.astype(self.images.dtype.newbyteorder("<"), copy=False)
        digest = hashlib.sha256(f"{pixels.dtype.str}|{pixels.shape}\n".encode())
        digest.update(np.ascontiguousarray(pixels).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return Split(
            n=len(self), sha256_of_examples=digest.hexdigest(), majority_errors=int(np.sum(self.labels != majority_label))
        )

    def encode(self, how: ImageInput, *, argument: str | None = None) -> Arrays:
        """As a network's input; `argument` as of `images_from_arrays`."""
        return images_from_arrays(self.images, self.labels, mean=how.mean, std=how.std, argument=argument)


def read_idx_folder(folder: Path) -> dict[str, LabelledImages]:
    """`train` and `test` (t10k) of a folder laid out as MNIST's and FashionMNIST's: four idx files, gzipped or not."""
    names = {"train": "train", "test": "t10k"}
    return {part: _read_part(Path(folder), name) for part, name in names.items()}


def _read_part(folder: Path, name: str) -> LabelledImages:
    images, labels = (read_idx(_idx_file(folder, f"{name}-{kind}-ubyte")) for kind in ("images-idx3", "labels-idx1"))
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"the labels of {folder}/{name}-… must be integers, got {labels.dtype}")
    return LabelledImages(images, labels.astype(np.int64))


def _idx_file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"no such file: {folder / name}, with or without .gz; give a folder of idx files laid out as MNIST's")


def split_images(parts: dict[str, LabelledImages], *, validation_fraction: float, seed: int) -> Splits:
    """Cut a validation split from ``train``; of images equal byte by byte the first is kept, in the order test, train.

    Label names are the numbers of the labels.
    """
    if len({part.shape for part in parts.values()}) > 1:
        raise DataError(f"all images must have one shape, got { ({name: part.shape for name, part in parts.items()}) }")
    keys = {name: [image.tobytes() for image in part.images] for name, part in parts.items()}
    chosen, removed = divided(keys, fractions={"validation": validation_fraction}, seed=seed)
    classes = np.unique(parts["train"].labels)
    if len(classes) < 2:
        raise DataError(f"the training images have {len(classes)} label(s); classification needs at least 2")
    indexed = {name: _numbered(parts[source].take(where), classes, name) for name, (source, where) in chosen.items()}
    splits = Splits(**indexed, label_names=tuple(str(label) for label in classes), duplicates_removed=removed)
    splits.check()
    return splits


def _numbered(part: LabelledImages, classes: NDArray[np.int64], split: str) -> LabelledImages:
    unknown = part.labels[~np.isin(part.labels, classes)]
    if len(unknown):
        raise DataError(
            f"the {split} split has label {unknown[0]}, which no training image has; "
            f"the labels are {', '.join(map(str, classes))}"
        )
    return LabelledImages(part.images, np.searchsorted(classes, part.labels).astype(np.int64))
