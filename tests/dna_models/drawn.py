"""Weights that anybody can draw again, for networks that are too large to be kept in a file."""

from math import prod, sqrt

import numpy as np
import torch


def drawn_weights(shapes: dict[str, tuple[int, ...]], seed: int = 7) -> dict[str, torch.Tensor]:
    """Draw a tensor for each published name, in their order: uniform, scaled by what it is for."""
    rng = np.random.default_rng(seed)
    weights = {}
    for key in sorted(shapes):
        shape = shapes[key]
        values = torch.from_numpy(rng.random(prod(shape), dtype=np.float32).reshape(shape))
        if key.endswith("running_var"):
            weights[key] = values + 0.05
        elif len(shape) == 1 and key.endswith("weight"):
            weights[key] = values + 0.5
        else:
            reach = sqrt(3 / prod(shape[1:])) if key.endswith("weight") else 0.5
            weights[key] = (2 * values - 1) * reach
    return weights
