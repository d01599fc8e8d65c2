"""The demo's real inputs: handwritten digits that no model was trained on, and human speech."""

from __future__ import annotations

import wave
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TRAINING_ROWS = 1437
CHUNK, CONTEXT = 512, 64
"""silero-vad hears 512 new samples at a time, with the 64 before them."""


@cache
def digits(*, held_out: bool = True) -> tuple[Array, Array]:
    """Return images of handwritten digits and their labels, from scikit-learn's copy of the UCI set.

    Args:
        held_out: the 360 rows that the models never saw, or the 1,437 that they learned from.

    Returns:
        float32 of shape (rows, 64) with grey values from 0 to 16, and int64 of shape (rows,).
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = slice(TRAINING_ROWS, None) if held_out else slice(TRAINING_ROWS)
    return data.data[rows].astype(np.float32), data.target[rows].astype(np.int64)


def speech() -> Array:
    """Return recorded speech in the chunks that silero-vad takes.

    Returns:
        float32 of shape (chunks, 576), 16 kHz, from -1 to 1; each chunk begins with the end of the one before.
    """
    with wave.open(str(files("kserve_warmup.demo") / "data" / "speech.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    starts = range(0, len(sound) - CHUNK + 1, CHUNK)
    return np.stack([padded[begin : begin + CONTEXT + CHUNK] for begin in starts])
