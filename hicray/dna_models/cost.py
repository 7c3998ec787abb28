"""What a pass over a genome costs, said before it is paid."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hicray.dna_models.contract import DnaModel

TFLOPS = 100.0
"""Operations a second, in tera, that a GPU is taken to do: a third of an A100's peak in bf16."""
_BYTES = {"bf16": 2, "fp32": 4}


class Cost(NamedTuple):
    """A pass over a genome.

    Attributes:
        windows: That the model reads, those of both strands.
        bins: Of all chromosomes.
        bytes: Of the table.
        tera_operations: Of the model's matrix products and convolutions; 0 where not known.
    """

    windows: int
    bins: int
    bytes: int
    tera_operations: float

    def __str__(self) -> str:
        """Return it as a sentence."""
        text = (
            f"{self.windows:,} windows (both strands), {self.bins:,} bins, "
            f"{self.bytes / 1e9:.2f} GB"
        )
        if self.tera_operations:
            hours = self.tera_operations / TFLOPS / 3600
            text += f", {hours:.2g} GPU-hours at {TFLOPS:g} TFLOP/s"
        return text


def cost(
    model: DnaModel, chromsizes: Mapping[str, int], bin_size: int, channels: int, precision: str
) -> Cost:
    """Return what embedding these chromosomes costs.

    Args:
        model: May lie on the meta device.
        chromsizes: In bp, by chromosome.
        bin_size: In bp.
        channels: Values of a bin that are kept.
        precision: Of a value.
    """
    core = model.positions * model.stride
    windows = 2 * sum(-(-length // core) for length in chromsizes.values())
    bins = sum(-(-length // bin_size) for length in chromsizes.values())
    stored = 2 * bins * channels * _BYTES[precision]
    return Cost(windows, bins, stored, windows * operations(model))


def operations(model: DnaModel) -> float:
    """Return a window's operations, in tera; 0 of a model that holds values and would run."""
    device = next((value.device for value in _parameters(model)), torch.device("cpu"))
    if device.type != "meta":
        return 0.0
    codes = torch.zeros(1, model.window, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        model(codes)
    return float(counter.get_total_flops()) / 1e12


def _parameters(model: DnaModel) -> Iterator[nn.Parameter]:
    return model.parameters() if isinstance(model, nn.Module) else iter(())
