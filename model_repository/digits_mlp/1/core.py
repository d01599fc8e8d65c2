"""The network itself, the same for every server: arrays by name in, arrays by name out."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

Arrays = dict[str, np.ndarray]


def load(folder: Path) -> Callable[[Arrays], Arrays]:
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        weights = {name: jnp.asarray(file[name]) for name in file.files}

    @jax.jit
    def network(image: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(image / 16 @ weights["w1"] + weights["b1"])
        return jax.nn.softmax(hidden @ weights["w2"] + weights["b2"])

    return lambda inputs: {"probabilities": np.asarray(network(inputs["image"].astype(np.float32)))}
