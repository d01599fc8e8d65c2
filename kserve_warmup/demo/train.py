"""Make the files that the digit models load: ``python -m kserve_warmup.demo.train model_repository``.

What it writes is committed (under 60 KB), so nobody needs to run it; it is how the files came about.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from kserve_warmup.demo.inputs import digits

HIDDEN, CLASSES, EPOCHS, BATCH, LEARNING_RATE, MOMENTUM = 128, 10, 60, 32, 0.05, 0.9


def train(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights of a network with one hidden layer, trained by stochastic gradient descent.

    Args:
        images: float32 of shape (rows, 64), grey values from 0 to 16.
        labels: integers of shape (rows,), 0 to 9.
    """
    import jax
    from jax import numpy as jnp

    def loss(weights: Any, image: Any, label: Any) -> Any:
        hidden = jax.nn.relu(image / 16 @ weights["w1"] + weights["b1"])
        scores = jax.nn.log_softmax(hidden @ weights["w2"] + weights["b2"])
        return -jnp.mean(jnp.take_along_axis(scores, label[:, None], axis=1))

    @jax.jit
    def step(weights: Any, speed: Any, image: Any, label: Any) -> tuple[Any, Any]:
        slope = jax.grad(loss)(weights, image, label)
        speed = jax.tree.map(lambda v, g: MOMENTUM * v - LEARNING_RATE * g, speed, slope)
        return jax.tree.map(jnp.add, weights, speed), speed

    random = np.random.default_rng(0)
    inputs = images.shape[1]
    weights = {
        "w1": random.normal(0, (2 / inputs) ** 0.5, (inputs, HIDDEN)).astype(np.float32),
        "b1": np.zeros(HIDDEN, np.float32),
        "w2": random.normal(0, (2 / HIDDEN) ** 0.5, (HIDDEN, CLASSES)).astype(np.float32),
        "b2": np.zeros(CLASSES, np.float32),
    }
    speed = {name: np.zeros_like(value) for name, value in weights.items()}
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[begin : begin + BATCH]
            weights, speed = step(weights, speed, images[rows], labels[rows])
    return {name: np.asarray(value) for name, value in weights.items()}


def main(repository: Path) -> None:
    """Write the digit models' arrays into a model repository."""
    images, labels = digits(held_out=False)
    arrays: dict[str, Any] = train(images, labels)
    np.savez_compressed(repository / "digits_mlp/1/weights.npz", **arrays)
    # whole grey values from 0 to 16: a byte each holds them
    np.savez_compressed(repository / "digits_knn/1/known.npz", images=images.astype(np.uint8), labels=labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
