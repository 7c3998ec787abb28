"""A stretch of DNA slid through a model: its positions averaged into bins, on both strands.

    window 0   |--margin--|=== positions ===|--margin--|
    window 1                     |--margin--|=== positions ===|--margin--|
    bins                  |-------|-------|-------|-------|-------|

Positions of neighbouring windows join without a gap; a position that lies in two bins counts in
each by what overlaps. The other strand is read in its own direction, and its positions turned
around, so that both strands of a bin tell of the same bases.

Axis names: ``strands`` are forward and reverse; ``channels`` are the model's.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hicray.dna_models.contract import DnaModel, Sizes, margin
from hicray.maps.genome import Codes, N, PackedSequence, reverse_complement, unpack
from hicray.model.run import autocast
from hicray.windows.dna import shuffle_dinucleotides

WINDOWS, LEAST_BINS = 8, 512
"""Windows of a stretch, and its bins, at least."""
SHUFFLED_BASES = 1 << 20
"""Bases among which a control's dinucleotides are shuffled."""


class Stretch(NamedTuple):
    """Neighbouring bins of one chromosome, embedded together.

    Attributes:
        chrom: Name in the genome.
        first_bin: The first.
        end_bin: Past the last.
    """

    chrom: str
    first_bin: int
    end_bin: int


def stretches(
    chrom: str, length: int, bin_size: int, model: Sizes, least_bins: int = LEAST_BINS
) -> list[Stretch]:
    """Split a chromosome into stretches, the pieces of work, that a few windows or more cover.

    Args:
        chrom: Its name.
        length: In bp.
        bin_size: In bp.
        model: Whose windows are meant.
        least_bins: Of a stretch but the last, where windows are short.
    """
    bins = -(-length // bin_size)
    each = max(least_bins, WINDOWS * model.positions * model.stride // bin_size)
    return [Stretch(chrom, first, min(first + each, bins)) for first in range(0, bins, each)]


def embed_stretch(
    model: DnaModel,
    sequence: PackedSequence,
    stretch: Stretch,
    bin_size: int,
    *,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "strands bins channels"]:
    """Return the mean of the positions on each bin; 0 where no base of a window's core is known.

    Args:
        model: On the device.
        sequence: The chromosome.
        stretch: Bins of it.
        bin_size: In bp, at least the model's stride.
        batch_size: Windows at once.
        device: Where the model runs.
    """
    core = model.positions * model.stride
    first = stretch.first_bin * bin_size
    end = min(stretch.end_bin * bin_size, sequence.length)
    sums = torch.zeros(2, stretch.end_bin - stretch.first_bin, model.channels, device=device)
    starts = [
        start
        for start in range(first, end, core)
        if (unpack(sequence, start, start + core) != N).any()
    ]
    for i in range(0, len(starts), batch_size):
        some = starts[i : i + batch_size]
        outputs = _both_strands(model, [_window(model, sequence, start) for start in some], device)
        for start, output in zip(some, outputs, strict=True):
            _add(sums, output, start - first, end - first, bin_size, model.stride)
    edges = torch.arange(stretch.first_bin, stretch.end_bin + 1, device=device) * bin_size
    lengths = edges.clamp(max=sequence.length).diff()
    return sums / lengths[None, :, None]


def shuffled(sequence: Codes, seed: int = 0) -> Codes:
    """Return a chromosome with its dinucleotides shuffled within stretches of about a megabase."""
    return np.concatenate(
        [
            shuffle_dinucleotides(
                sequence[start : start + SHUFFLED_BASES], np.random.default_rng([seed, start])
            )
            for start in range(0, len(sequence), SHUFFLED_BASES)
        ]
    )


def _window(model: DnaModel, sequence: PackedSequence, start: int) -> Codes:
    """Return the bases of the window whose first position begins at ``start``."""
    first = start - margin(model)
    return unpack(sequence, first, first + model.window)


@torch.inference_mode()
def _both_strands(
    model: DnaModel, windows: list[Codes], device: torch.device | str
) -> Float[Tensor, "batch strands positions channels"]:
    def run(codes: list[Codes]) -> Tensor:
        tensor: UInt8[Tensor, "batch bases"] = torch.from_numpy(np.stack(codes)).to(device)
        with autocast(device):
            return model(tensor).float()

    reverse = run([reverse_complement(codes) for codes in windows])
    # Position 0 of the other strand lies at this one's end.
    return torch.stack([run(windows), reverse.flip(1)], dim=1)


def _add(
    sums: Float[Tensor, "strands bins channels"],
    values: Float[Tensor, "strands positions channels"],
    start: int,
    end: int,
    bin_size: int,
    stride: int,
) -> None:
    """Add a window's positions to the bins that they lie on, each by the bases that overlap.

    Args:
        sums: By bin, in values times bases.
        values: Of positions side by side.
        start: First base of the first position, from the first bin's.
        end: Past the last base that counts, from the first bin's.
        bin_size: In bp.
        stride: Bases of a position, at most a bin.
    """
    device = sums.device
    first = start + stride * torch.arange(values.shape[1], device=device)
    inside = first < end
    first, values = first[inside], values[:, inside]
    last = (first + stride).clamp(max=end)
    bins = first // bin_size
    edge = (bins + 1) * bin_size
    here = (torch.minimum(last, edge) - first).to(values.dtype)
    beyond = (last - edge).clamp(min=0).to(values.dtype)
    sums.index_add_(1, bins, values * here[:, None])
    reached = beyond > 0
    sums.index_add_(1, bins[reached] + 1, values[:, reached] * beyond[reached, None])
