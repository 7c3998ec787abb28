"""The parity check with HiCFoundation's own answers, for the tests and for their mutations."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from hicray.model import hicfoundation, patches

GOLDEN = Path(__file__).parent / "golden" / "hicfoundation"
HEADS = {
    "tiny_a": (4, 4),
    "tiny_b": (6, 5),
    "tiny_c_task0": (4, 4),
    "tiny_d_finetune": (4, 4),
}
"""Attention heads of encoder and decoder, which no tensor tells."""
SINCOS_TABLES = (
    ("tiny_a", "vit_backbone.pos_embed", (14, 14)),
    ("tiny_a", "decoder_pos_embed", (14, 14)),
    ("tiny_b", "decoder_pos_embed", (14, 28)),
    ("tiny_c_task0", "decoder_pos_embed", (4, 6)),
    ("tiny_d_pretrain", "pos_embed", (7, 7)),
    ("tiny_d_pretrain", "decoder_pos_embed", (7, 7)),
)
"""Fixture, key and grid of the position tables that upstream computed rather than learned."""


@cache
def io_of(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}_io.safetensors")


def weights_of(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}_weights.safetensors")


def network_of(name: str) -> hicfoundation.HiCFoundation:
    """Load a fixture's network as a user would load a published one."""
    heads, decoder_heads = HEADS[name]
    path = GOLDEN / f"{name}_weights.safetensors"
    return hicfoundation.load(path, num_heads=heads, decoder_num_heads=decoder_heads)


@torch.no_grad()
def check_map(name: str) -> None:
    """Compare a fixture's map: float64 tells the epsilons, float32 is what users run."""
    network, io = network_of(name), io_of(name)
    single = network(io["input"], io["total_count"])
    torch.testing.assert_close(single.double(), io["output_f64"], rtol=1e-5, atol=1e-5)
    double = network.double()(io["input"].double(), io["total_count"].double())
    torch.testing.assert_close(double, io["output_f64"], rtol=1e-9, atol=1e-11)


def check_tables() -> None:
    """Compare the computed position tables; those of a network come from its file instead."""
    for name, key, (rows, cols) in SINCOS_TABLES:
        table = weights_of(name)[key][0]
        if not key.startswith("decoder"):
            assert not table[0].any(), "cls has no position"
            table = table[1:]
        computed = patches.sincos_2d(rows, cols, table.shape[1])
        torch.testing.assert_close(computed, table, rtol=0, atol=1e-6)


@cache
def pipeline() -> dict[str, np.ndarray]:
    return load_arrays(GOLDEN / "tiny_e_pipeline.safetensors")


def square(upper: np.ndarray) -> np.ndarray:
    """Return a map from its row-major upper triangle; zeros below the diagonal."""
    bins = int(np.sqrt(2 * len(upper)))
    full = np.zeros((bins, bins), upper.dtype)
    full[np.triu_indices(bins)] = upper
    return full


@cache
def chromosomes() -> dict[str, np.ndarray]:
    """Return the upper triangles of the pipeline fixture's maps, as upstream stores them."""
    prefix = "chrom_upper."
    stored = pipeline().items()
    return {k.removeprefix(prefix): square(v) for k, v in stored if k.startswith(prefix)}
