"""Make the files that the digit models load: ``python model_repository/train.py``.

What it writes is committed (under 100 KB), so nobody needs to run it; it is how the files came about. The networks are
trained in JAX, the one that runs in torch too: arrays are all that is kept of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kserve_warmup.demo.inputs import Array, digits

PIXELS, HIDDEN, CLASSES = 64, 128, 10
FILTERS = (16, 32)
EPOCHS, BATCH, LEARNING_RATE, MOMENTUM = 60, 32, 0.05, 0.9

Arrays = dict[str, Array]
Network = Callable[[Any, Any], Any]


def train(network: Network, weights: Arrays, random: np.random.Generator) -> Arrays:
    """Return the weights of a network, trained by stochastic gradient descent on the digits' training rows.

    Args:
        network: takes weights and float32 images of shape (rows, 64), grey values from 0 to 16; returns scores of
            shape (rows, 10).
        weights: where to begin.
        random: shuffles the rows.
    """
    import jax
    from jax import numpy as jnp

    images, labels = digits(held_out=False)

    def loss(weights: Any, image: Any, label: Any) -> Any:
        scores = jax.nn.log_softmax(network(weights, image))
        return -jnp.mean(jnp.take_along_axis(scores, label[:, None], axis=1))

    @jax.jit
    def step(weights: Any, speed: Any, image: Any, label: Any) -> tuple[Any, Any]:
        slope = jax.grad(loss)(weights, image, label)
        speed = jax.tree.map(lambda v, g: MOMENTUM * v - LEARNING_RATE * g, speed, slope)
        return jax.tree.map(jnp.add, weights, speed), speed

    speed = {name: np.zeros_like(value) for name, value in weights.items()}
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[begin : begin + BATCH]
            weights, speed = step(weights, speed, images[rows], labels[rows])
    return {name: np.asarray(value) for name, value in weights.items()}


def hidden_layer() -> Arrays:
    """Return the weights of ``digits_mlp``: one hidden layer."""
    import jax

    def network(weights: Any, image: Any) -> Any:
        hidden = jax.nn.relu(image / 16 @ weights["w1"] + weights["b1"])
        return hidden @ weights["w2"] + weights["b2"]

    random = np.random.default_rng(0)
    weights = {
        "w1": _normal(random, PIXELS, (PIXELS, HIDDEN)),
        "b1": np.zeros(HIDDEN, np.float32),
        "w2": _normal(random, PIXELS, (HIDDEN, CLASSES)),
        "b2": np.zeros(CLASSES, np.float32),
    }
    return train(network, weights, random)


def convolutional() -> Arrays:
    """Return the weights of ``digits_cnn``: two convolutions of 3x3, the greatest of each 2x2, and one dense layer."""
    import jax

    def network(weights: Any, image: Any) -> Any:
        seen = image.reshape(-1, 1, 8, 8) / 16
        for layer in ("1", "2"):
            scores = jax.lax.conv_general_dilated(seen, weights["k" + layer], (1, 1), "SAME")
            seen = jax.nn.relu(scores + weights["b" + layer][:, None, None])
        hidden = seen.reshape(-1, FILTERS[1], 4, 2, 4, 2).max(axis=(3, 5)).reshape(len(image), -1)
        return hidden @ weights["w3"] + weights["b3"]

    random = np.random.default_rng(0)
    first, second = FILTERS
    dense = second * PIXELS // 4
    weights = {
        "k1": _normal(random, 9, (first, 1, 3, 3)),
        "b1": np.zeros(first, np.float32),
        "k2": _normal(random, first * 9, (second, first, 3, 3)),
        "b2": np.zeros(second, np.float32),
        "w3": _normal(random, dense, (dense, CLASSES)),
        "b3": np.zeros(CLASSES, np.float32),
    }
    return train(network, weights, random)


def _normal(random: np.random.Generator, inputs: int, shape: tuple[int, ...]) -> Array:
    return random.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)


def main(repository: Path) -> None:
    """Write the digit models' arrays into a model repository."""
    mlp: dict[str, Any] = hidden_layer()
    np.savez_compressed(repository / "digits_mlp/1/weights.npz", **mlp)
    # whole grey values from 0 to 16: a byte each holds them
    images, labels = digits(held_out=False)
    np.savez_compressed(repository / "digits_knn/1/known.npz", images=images.astype(np.uint8), labels=labels)
    cnn: dict[str, Any] = convolutional()
    np.savez_compressed(repository / "digits_cnn/1/weights.npz", **cnn)


if __name__ == "__main__":
    main(Path(__file__).parent)
