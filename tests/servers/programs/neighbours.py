"""Nearest neighbours, compiled by numba with the first request of each process; nothing is kept between starts."""

import os

import numba
import numpy as np

PIXELS = 64


@numba.njit(fastmath=True)
def nearest(images, known):
    answers = np.empty(images.shape[0], np.int64)
    for row in range(images.shape[0]):
        distances = np.empty(known.shape[0])
        for other in range(known.shape[0]):
            total = 0.0
            for pixel in range(known.shape[1]):
                difference = images[row, pixel] - known[other, pixel]
                total += difference * difference
            distances[other] = total
        answers[row] = np.argsort(distances)[0]
    return answers


class Neighbours:
    """The model that all servers here have."""

    def __init__(self):
        self._known = np.random.default_rng(0).random((500, PIXELS))

    def answer(self, images):
        """Return the nearest ones' numbers, the process's id, and whether it had to compile for this."""
        cold = not nearest.signatures
        return {
            "nearest": nearest(np.asarray(images, np.float64), self._known).tolist(),
            "process": os.getpid(),
            "cold": cold,
        }
