"""The small networks that reference packages answered for; their files lie in tests/golden."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hicray.dna_models import borzoi, enformer
from tests.dna_models.drawn import drawn_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "dna_models"
ENFORMER = enformer.Size(
    window=512, positions=20, widths=(24, 24, 32, 48), depth=2, heads=2, key_dim=8
)
BORZOI = borzoi.Size(
    window=1536,
    positions=20,
    widths=(512, 608, 736, 896, 1056, 1280),  # no others can be had from the reference
    dim=48,
    depth=2,
    heads=3,
    key_dim=8,
    value_dim=12,
    channels=1920,
)
TINY_BORZOI = borzoi.Size(
    window=512,
    positions=8,
    widths=(4, 4, 4, 4, 4, 6),
    dim=8,
    depth=1,
    heads=2,
    key_dim=3,
    value_dim=5,
    channels=7,
)


@cache
def io_of(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}_io.safetensors")


def enformer_weights() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "enformer_weights.safetensors")


def borzoi_weights(size: borzoi.Size) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        held = borzoi.Borzoi(size).state_dict()
    return drawn_weights({borzoi.NAMING.published(k): tuple(v.shape) for k, v in held.items()})


def saved(weights: dict[str, torch.Tensor], path: Path) -> Path:
    """Write a file in the format that its name tells."""
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path
