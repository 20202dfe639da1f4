"""A data set of synthetic images in the layout of MNIST, and a configuration that runs on it in seconds."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

SIDE, CLASSES = 16, 3


def striped(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with bright rows, bright columns or a bright diagonal band, by class; bytes."""
    generator = np.random.default_rng(seed)
    images, labels = generator.integers(0, 90, (n, SIDE, SIDE)), np.arange(n) % CLASSES
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    images[labels == 2] += 150 * np.eye(SIDE, k=0, dtype=np.int64)
    return images.astype(np.uint8), labels.astype(np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Bytes as an idx file, gzipped where the name says so."""
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(
    folder: Path, *, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], ending: str = ".gz"
) -> Path:
    """Four idx files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", train), ("t10k", test)):
        for kind, array in zip(("images-idx3", "labels-idx1"), part, strict=True):
            write_idx(folder / f"{name}-{kind}-ubyte{ending}", array)
    return folder


def configuration(folder: Path, *, model: str = 'builtin = "mlp"', data: str = "", measurement: str = "", output="out") -> Path:
    """A data set, and a configuration beside it; returns the configuration's path."""
    write_folder(folder / "stripes", train=striped(240, seed=0), test=striped(60, seed=1))
    path = folder / "stripes.toml"
    path.write_text(
        f'output = "{output}"\n[model]\n{model}\n[data]\nimages = "stripes"\nvalidation_fraction = 0.1\n{data}\n[measurement]\n'
        'parametrization = "full_weights"\ndims = [20, 60]\nseeds = [0]\nlearning_rates = [8.0]\n'
        f"full_learning_rates = [0.001]\nsteps = 30\nquantization_steps = 10\nbatch_size = 32\n{measurement}"
    )
    return path
