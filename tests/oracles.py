"""Upstream's inference around the network, derived anew from its description, in numpy.

Plain and slow on purpose. The rules are HiCFoundation's own (its inference, task 3), including
those that hicray does not follow.
"""

from collections.abc import Callable, Mapping

import numpy as np

WINDOW = 224
SMALLEST_CHROMOSOME = WINDOW // 2
"""Chromosomes of fewer bins are dropped."""
SMALLEST_CONTACT = 0.01
"""Enhanced values up to here are dropped."""
CAP = 100.0
LOG_MAX = np.log10(1001.0)

Map = np.ndarray
Model = Callable[[Map, float], Map]
"""A window's normalised image (channels first, float32) and the total count to network units."""


def kept(chromosomes: Mapping[str, Map]) -> dict[str, Map]:
    return {name: map_ for name, map_ in chromosomes.items() if len(map_) >= SMALLEST_CHROMOSOME}


def total_count(chromosomes: Mapping[str, Map]) -> float:
    """Everything that is stored, which a symmetric matrix stores twice."""
    return float(sum(stored.sum() for stored in kept(chromosomes).values()))


def both_triangles(stored: Map) -> Map:
    """Matrix plus transpose, the diagonal halved before: so symmetric input is doubled off it."""
    stored = stored.astype(float)
    np.fill_diagonal(stored, stored.diagonal() / 2)
    full = stored + stored.T
    return np.pad(full, (0, max(0, WINDOW - len(full))))


def tiles(bins: int, stride: int, bound: int) -> list[tuple[int, int]]:
    """Every window's first row and column in upstream's order, repetitions included."""
    starts = [*range(0, bins - WINDOW, stride), bins - WINDOW, bins - WINDOW - stride]
    pairs = []
    for row in starts:
        for col in starts:
            if abs(row - col) <= bound:  # before they are clamped
                row = max(row, 0)  # and clamped for the columns that follow
                pairs.append((row, max(col, 0)))
    return pairs


def image(window: Map, *, on_diagonal: bool, cap: float | None) -> Map:
    window = window.copy()
    if on_diagonal:
        np.fill_diagonal(window, 0)
    logs = np.log10(window + 1) if cap is None else np.log10(np.minimum(window, cap) + 1)
    top = logs.max() if cap is None else np.log10(cap + 1)
    value = (top - logs) / top
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    channels = np.stack([np.ones_like(value), value, value])
    return ((channels - mean[:, None, None]) / std[:, None, None]).astype(np.float32)


def stand_in(image: Map, total: float) -> Map:
    """The model that the fixture's merged maps were made with: it depends on place and count."""
    col = np.linspace(0, 1, image.shape[2])
    value = 1 - (image[1] * 0.224 + 0.456)
    return value * (0.6 + 0.2 * col) * (2 / 3) + 0.001 * (np.log10(total) / 9) * (col > 0.5)


def enhanced_tile(full: Map, row: int, col: int, total: float, model: Model) -> Map:
    window = full[row : row + WINDOW, col : col + WINDOW]
    output = model(image(window, on_diagonal=row == col, cap=CAP), total)
    return np.maximum(10 ** (output * LOG_MAX) - 1, 0)


def merged(stored: Map, total: float, model: Model, *, stride: int, bound: int) -> Map:
    """Upper triangle of the enhanced chromosome: means over the tiles that are not zero there."""
    full = both_triangles(stored)
    sums, times = np.zeros_like(full), np.zeros_like(full)
    for row, col in tiles(len(full), stride, bound):
        place = slice(row, row + WINDOW), slice(col, col + WINDOW)
        tile = enhanced_tile(full, row, col, total, model)
        sums[place] += tile
        times[place] += tile != 0
    sums, times = sums + sums.T, times + times.T
    means = np.divide(sums, times, out=np.zeros_like(sums), where=times > 0)
    return np.triu(np.where(means > SMALLEST_CONTACT, means, 0))
