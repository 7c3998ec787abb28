"""Patches, positions and the count token: the arithmetic around the transformers.

Axis names: ``batch``; ``rows cols`` are bins of a window; ``patches`` are numbered row-major on a
grid of ``patch_rows`` x ``patch_cols``; ``pixels`` are those of one patch, row-major; ``tokens``
are patches and the two tokens before them; ``dim`` is the width of a token.

Source: the formulas of HiCFoundation (github.com/Noble-Lab/HiCFoundation).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PATCH = 16
"""Bins along each side of a patch."""
EXTRA_TOKENS = 2
"""Tokens before the patches: cls and count."""
BASE = 10_000.0
"""Wavelengths of positions reach from 2 pi to 2 pi times this."""


def patchify(maps: Float[Tensor, "batch rows cols"]) -> Float[Tensor, "batch patches pixels"]:
    """Cut maps into patches, row-major across the map and inside each patch."""
    batch, rows, cols = maps.shape
    # (batch, patch row, row in it, patch col, col in it), then a patch's pixels together:
    #
    #     a b | c d
    #     e f | g h    in patches of 2 x 2: abef, cdgh
    tiles = maps.reshape(batch, rows // PATCH, PATCH, cols // PATCH, PATCH).transpose(2, 3)
    return tiles.reshape(batch, (rows // PATCH) * (cols // PATCH), PATCH * PATCH)


def unpatchify(
    patches: Float[Tensor, "batch patches pixels"], patch_rows: int, patch_cols: int
) -> Float[Tensor, "batch rows cols"]:
    """Lay patches out as maps: the inverse of ``patchify``.

    Args:
        patches: Of a grid, row by row; 16 x 16 pixels each.
        patch_rows: Rows of the grid.
        patch_cols: Columns of the grid.
    """
    tiles = patches.reshape(-1, patch_rows, patch_cols, PATCH, PATCH).transpose(2, 3)
    return tiles.reshape(-1, patch_rows * PATCH, patch_cols * PATCH)


def sincos_1d(positions: Float[Tensor, " positions"], dim: int) -> Float[Tensor, "positions dim"]:
    """Encode positions along one axis as ``dim / 2`` sines, then as many cosines."""
    half = dim // 2
    omega = BASE ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = positions.to(torch.float64)[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def sincos_2d(patch_rows: int, patch_cols: int, dim: int) -> Float[Tensor, "patches dim"]:
    """Encode the positions of patches; the first half of the channels is the COLUMN, not the row.

    Args:
        patch_rows: Rows of the grid.
        patch_cols: Columns of the grid.
        dim: Width of an encoding.
    """
    rows = sincos_1d(torch.arange(patch_rows, dtype=torch.float64), dim // 2)
    cols = sincos_1d(torch.arange(patch_cols, dtype=torch.float64), dim // 2)
    return torch.cat([cols.repeat(patch_rows, 1), rows.repeat_interleave(patch_cols, 0)], dim=1)


def sincos_bins(segments: int, patches: int, dim: int) -> Float[Tensor, "segments dim"]:
    """Encode positions along one side of a window in units of patches, the same on both halves.

    A DNA token then shares its code with the patches that lie over it, on either axis.

    Args:
        segments: Equal segments of the side: its bins, or 1 for the whole of it.
        patches: Patches along that side.
        dim: Width of a token.
    """
    # Centres in units of patches: the first patch has its centre at 0, as in ``sincos_2d``.
    positions = (torch.arange(segments, dtype=torch.float64) + 0.5) * patches / segments - 0.5
    return sincos_1d(positions, dim // 2).repeat(1, 2)


def count_token(total_reads: Float[Tensor, " batch"], dim: int) -> Float[Tensor, "batch dim"]:
    """Encode the reads of the whole map, so that the network knows how deep it is.

    Args:
        total_reads: Raw reads of the map that the window was cut from.
        dim: Width of a token.

    Source:
        HiCFoundation: sines and cosines of log10(reads), plus 1. Its frequencies are
        10000^(-i / 2 dim), not the ladder of the positions.
    """
    # An empty map would give the logarithm of zero.
    depth = total_reads.clamp(min=1.0).log10()
    index = torch.arange(dim // 2, dtype=depth.dtype, device=depth.device)
    angles = depth[:, None] * BASE ** (-index / (2 * dim))
    return torch.cat([angles.sin(), angles.cos()], dim=1) + 1


def resize_positions(
    table: Float[Tensor, "positions dim"], patch_rows: int, patch_cols: int
) -> Float[Tensor, "patches dim"]:
    """Interpolate the position table of a square grid of patches for another grid (bicubic).

    Args:
        table: Encodings of a square grid, row by row.
        patch_rows: Rows of the other grid.
        patch_cols: Columns of the other grid.

    Raises:
        ValueError: The table is not that of a square grid.
    """
    if len(table) == patch_rows * patch_cols == patch_rows**2:
        return table
    side = math.isqrt(len(table))
    if side * side != len(table):
        raise ValueError(f"a table of {len(table)} positions is not that of a square grid")
    # (1, dim, side, side), as images are interpolated.
    grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(patch_rows, patch_cols), mode="bicubic", align_corners=False)
    return grid.flatten(2)[0].T
