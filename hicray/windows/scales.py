"""Counts <-> network values, with exact inverses; windows decoded from compact counts.

Everything works on tensors of any device, so that compact integers travel to it and the dense
float maps are made there. Upstream's input image: HiCFoundation's inference (its task 3).
"""

import math
from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

LOG_MAX = float(np.log10(1001.0))
"""Network value 1 is 1,000 contacts, as in HiCFoundation's target."""
NATS = math.log(1001)
"""A difference of network values x this is one of log(contacts + 1)."""
SEPARATION_SCALE = 5.0
"""log(1 + separation in fine bins) of a window's far corner, roughly: keeps the feature near 1."""
MIN_SEPARATION = 2
"""Separations below this, in bins, are left out of O/E: ligation artefacts rule them."""
FLOOR = 0.02
"""Share of what distance alone expects that a map adds where it is asked how likely reads are."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Maps = Float[Tensor, "batch rows cols"]


def to_network(contacts: Maps) -> Maps:
    """Return log10(x + 1) / log10(1001)."""
    return torch.log10(contacts + 1) / LOG_MAX


def from_network(values: Maps) -> Maps:
    """Invert ``to_network``; values below 0 are no contacts."""
    return (torch.pow(10.0, values * LOG_MAX) - 1).clamp(min=0)


def rates(values: Maps, expected: Maps) -> Maps:
    """Return contacts that no read contradicts: a little of what distance expects is added.

    A map's 0 would make one read there infinitely unlikely.

    Args:
        values: In network units.
        expected: Fine contacts by distance alone, in network units.
    """
    return from_network(values) + (FLOOR * from_network(expected)).clamp(min=1e-6)


def caps_of(caps: Iterable[float | None]) -> Float64[Tensor, " caps"]:
    """Return caps of images as a tensor: infinite where each window takes its own maximum."""
    return torch.tensor([math.inf if cap is None else cap for cap in caps], dtype=torch.float64)


def contact_image(
    contacts: Maps, diagonal: Int[Tensor, " batch"], cap: Float64[Tensor, " batch"]
) -> Float[Tensor, "batch 3 rows cols"]:
    """Return the normalised image that HiCFoundation's encoder reads.

    The main diagonal is zeroed where a window holds it, as upstream's inference does. High
    contact is 0; the first channel is a constant 1; then ImageNet's mean and deviation.

    Args:
        contacts: Of each window.
        diagonal: First column minus first row, in bins.
        cap: As ``caps_of``: the largest count that each window's image tells apart.
    """
    eye = torch.eye(
        contacts.shape[-2], contacts.shape[-1], dtype=torch.bool, device=contacts.device
    )
    zeroed = contacts.masked_fill(eye & (diagonal == 0)[:, None, None], 0.0)
    most = cap[:, None, None]
    logs = torch.log10(torch.minimum(zeroed, most.to(zeroed.dtype)) + 1)
    # A window without a single contact would divide by zero.
    window_max = logs.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    top = torch.where(torch.isfinite(most), torch.log10(most + 1).to(logs.dtype), window_max)
    value = (top - logs) / top
    image = torch.stack([torch.ones_like(value), value, value], dim=1)
    mean = image.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = image.new_tensor(IMAGENET_STD)[:, None, None]
    return (image - mean) / std


@cache
def triangle_index(bins: int, repeat: int, device: torch.device) -> Int[Tensor, "rows cols"]:
    """Return where each pixel of a symmetric window lies in its row-major upper triangle.

    Args:
        bins: Bins along a side at the map's own resolution.
        repeat: How many fine bins each of them covers.
        device: Where it is kept.
    """
    coarse_bin = torch.arange(bins, device=device).repeat_interleave(repeat)
    low = torch.minimum(coarse_bin[:, None], coarse_bin)
    high = torch.maximum(coarse_bin[:, None], coarse_bin)
    # The rows above hold bins, bins - 1, ... pixels; row ``low`` begins with its own column.
    return low * bins - low * (low - 1) // 2 + high - low


def spread(counts: Int[Tensor, "batch pixels"], bins: int, repeat: int) -> Maps:
    """Return dense counts on the fine grid, each coarse pixel repeated.

    Args:
        counts: Row-major upper triangle (diagonal windows) or full square of each window.
        bins: Bins along a side at the map's own resolution.
        repeat: How many fine bins each of them covers.
    """
    side = bins * repeat
    if counts.shape[1] == bins * (bins + 1) // 2:
        index = triangle_index(bins, repeat, counts.device)
    else:
        coarse_bin = torch.arange(bins, device=counts.device).repeat_interleave(repeat)
        index = coarse_bin[:, None] * bins + coarse_bin
    return counts[:, index.reshape(-1)].reshape(-1, side, side).float()


def repeated(maps: Float[Tensor, "batch coarse_rows coarse_cols"], factor: int) -> Maps:
    """Return coarse maps on the fine grid, each pixel repeated.

    Args:
        maps: On the coarse grid.
        factor: Fine bins to a coarse one.
    """
    return maps.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def fine_pixels(
    exists: tuple[Bool[Tensor, "batch rows"], Bool[Tensor, "batch cols"]],
    diagonal: Int[Tensor, " batch"],
    factor: int,
) -> Maps:
    """Return by fine pixel how many distinct fine pixels its coarse pixel holds.

    factor^2 off the diagonal, factor (factor + 1) / 2 on it, since a map counts each pair once;
    fewer in the last bin of a chromosome. Pixels past the end give 1, so that one may divide.

    Args:
        exists: Fine pixels inside the chromosome.
        diagonal: First column minus first row of each window, in fine bins.
        factor: Fine bins to a coarse one.
    """

    def per_bin(axis: Bool[Tensor, "batch bins"]) -> Float[Tensor, "batch bins"]:
        # Fine bins of each coarse one that exist, said again for each of its fine bins.
        return axis.reshape(len(axis), -1, factor).sum(-1).repeat_interleave(factor, dim=1).float()

    rows, cols = per_bin(exists[0]), per_bin(exists[1])
    square = rows[:, :, None] * cols[:, None, :]
    block = torch.arange(rows.shape[1], device=rows.device) // factor
    on_diagonal = (diagonal == 0)[:, None, None] & (block[:, None] == block)
    # On the diagonal, rows and columns are the same bins.
    triangle = (rows * (rows + 1) / 2)[:, :, None].expand_as(square)
    return torch.where(on_diagonal, triangle, square).clamp(min=1)


def balance(
    counts: Maps, rows: Float[Tensor, "batch rows"], cols: Float[Tensor, "batch cols"]
) -> Maps:
    """Multiply counts by the weights of both axes; unusable pixels (NaN weights) become 0.

    Args:
        counts: Raw, dense.
        rows: Weights of the rows' bins.
        cols: Weights of the columns' bins.
    """
    return counts * rows.nan_to_num(0.0)[:, :, None] * cols.nan_to_num(0.0)[:, None, :]


def separations(diagonal: Int[Tensor, " batch"], bins: int) -> Int[Tensor, "batch rows cols"]:
    """Return |col - row| of every pixel, in bins."""
    index = torch.arange(bins, device=diagonal.device)
    return (diagonal[:, None, None] + index[None, None, :] - index[None, :, None]).abs()
