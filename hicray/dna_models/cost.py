"""What a pass over a genome costs, said before it is paid."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from hicray.dna_models.contract import DnaModel, Sizes

TFLOPS = 100.0
"""Operations a second, in tera, that a GPU is taken to do: a third of an A100's peak in bf16."""
_BYTES = {"bf16": 2, "fp32": 4}


class Cost(NamedTuple):
    """A pass over a genome.

    Attributes:
        windows: That the model reads, those of both strands.
        bins: Of all chromosomes.
        bytes: Of all channels of the model.
        kept_bytes: Of the components beside them; 0 where none are kept.
        tera_operations: Of the model's matrix products and convolutions; 0 where not known.
    """

    windows: int
    bins: int
    bytes: int
    kept_bytes: int
    tera_operations: float

    def __str__(self) -> str:
        """Return it as a sentence."""
        text = f"{self.windows:,} windows (both strands), {self.bins:,} bins, "
        text += _size(self.bytes)
        if self.kept_bytes:
            text += f" of all channels and {_size(self.kept_bytes)} of components"
        if self.tera_operations:
            hours = self.tera_operations / TFLOPS / 3600
            text += f", {hours:.2g} GPU-hours at {TFLOPS:g} TFLOP/s"
        return text


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def cost(
    sizes: Sizes,
    chromsizes: Mapping[str, int],
    bin_size: int,
    precision: str,
    *,
    components: int = 0,
    window_operations: float = 0.0,
) -> Cost:
    """Return what embedding these chromosomes costs.

    Args:
        sizes: Of the model.
        chromsizes: In bp, by chromosome.
        bin_size: In bp.
        precision: Of a stored value.
        components: That are kept; 0 for none.
        window_operations: Of one window, in tera; 0 where they are not known.
    """
    core = sizes.positions * sizes.stride
    windows = 2 * sum(-(-length // core) for length in chromsizes.values())
    bins = sum(-(-length // bin_size) for length in chromsizes.values())
    channel = 2 * bins * _BYTES[precision]
    stored = channel * sizes.channels
    return Cost(windows, bins, stored, channel * components, windows * window_operations)


def operations(model: DnaModel) -> float:
    """Return a window's operations, in tera.

    Args:
        model: On the meta device, where nothing is computed.
    """
    codes = torch.zeros(1, model.window, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(codes)
    return float(counter.get_total_flops()) / 1e12
