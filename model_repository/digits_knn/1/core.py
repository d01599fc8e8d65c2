"""Nearest neighbours, the same for every server: arrays by name in, arrays by name out."""

import os
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

Arrays = dict[str, np.ndarray]
NEIGHBOURS = 5
DIGITS = 10
KEPT = "NUMBA_CACHE_DIR" in os.environ
"""Whether what numba compiles is kept: where somebody says where, such as kserve-warmup bake, and nowhere else."""


@numba.njit(fastmath=True, cache=KEPT)
def nearest(images: np.ndarray, known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    answers = np.empty((images.shape[0], 1), np.int64)
    for row in range(images.shape[0]):
        distances = np.empty(known.shape[0])
        for other in range(known.shape[0]):
            total = 0.0
            for pixel in range(known.shape[1]):
                difference = float(images[row, pixel]) - float(known[other, pixel])
                total += difference * difference
            distances[other] = total
        votes = np.zeros(DIGITS)
        for other in np.argsort(distances)[:NEIGHBOURS]:
            votes[labels[other]] += 1
        answers[row, 0] = np.argmax(votes)
    return answers


def load(folder: Path) -> Callable[[Arrays], Arrays]:
    with np.load(folder / "known.npz", allow_pickle=False) as file:
        known, labels = file["images"], file["labels"]
    return lambda inputs: {"digit": nearest(inputs["image"], known, labels)}
