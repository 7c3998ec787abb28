"""What of the DNA does a network read? Ablation, mutation and its filters, on windows of DNA.

Axis names: ``offsets`` are base pairs from a site's first base, on its own strand; ``positions 4``
are a motif's, in the order A, C, G, T.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from hicray.evaluation.window_set import Predictor
from hicray.model.dna import FIRST_KERNEL, DnaTower, one_hot
from hicray.model.enhancer import Enhancer
from hicray.predict.predictors import model_predictor
from hicray.windows.batches import Batch
from hicray.windows.inputs import Inputs
from hicray.windows.scales import LOG_MAX, from_network

LOG2_PER_UNIT = LOG_MAX * float(np.log2(10))
"""log2 fold change of contacts + 1 that one network unit is."""
AnyWindows = TypeVar("AnyWindows", Batch, Inputs)
Pwm = Float64[np.ndarray, "_ 4"]


class Site(NamedTuple):
    """A stretch of DNA in a batch's windows.

    Attributes:
        window: Index in the batch.
        start: First base, from the window's first (flanks counted), in bp.
        reverse: Whether it is read on the other strand.
    """

    window: int
    start: int
    reverse: bool = False


class Ablation(NamedTuple):
    """Predictions with stretches of DNA and without them, in scaled contacts."""

    before: Float[Tensor, "batch rows cols"]
    after: Float[Tensor, "batch rows cols"]

    @property
    def log2_change(self) -> Float[Tensor, "batch rows cols"]:
        """Return log2 of (contacts + 1) without the stretches over with them."""
        return torch.log2((self.after + 1) / (self.before + 1))


@torch.no_grad()
def ablate(
    predict: Callable[[AnyWindows], Float[Tensor, "batch rows cols"]],
    windows: AnyWindows,
    sites: Sequence[Site],
    length: int,
    *,
    draws: int = 4,
) -> Ablation:
    """Predict windows with stretches of their DNA replaced by random bases, averaged over draws.

    Random bases rather than N: a network has seen next to no N where it learnt.

    Args:
        predict: The network, in network units.
        windows: On the diagonal, with DNA.
        sites: Stretches.
        length: Of each, in bp.
        draws: Random replacements whose predicted contacts are averaged.
    """
    rng, original = np.random.default_rng(0), _bases(windows)
    before = from_network(predict(windows))
    after = torch.zeros_like(before)
    for _ in range(draws):
        bases = original.clone()
        for site in sites:
            codes = bases[site.window]
            codes[site.start : site.start + length] = _random_like(codes, length, rng)
        after += from_network(predict(_with_bases(windows, bases))) / draws
    return Ablation(before, after)


def mutation_profile(
    predict: Predictor, batch: Batch, sites: Sequence[Site], length: int, *, flank: int = 10
) -> tuple[np.ndarray, Float64[np.ndarray, " offsets"]]:
    """Return what substituting one base at a time changes, by its offset from the sites.

    At each offset, one base of every site is replaced by its complement, in all windows at once;
    sites of one window should lie apart.

    Args:
        predict: The network.
        batch: Windows on the diagonal, with DNA.
        sites: Where to look.
        length: Of a site, in bp.
        flank: Bases beyond either end that are looked at too.

    Returns:
        Offsets in bp, and the mean absolute log2 change of the windows' pixels.
    """
    bases, before = _bases(batch), predict(batch)
    offsets = np.arange(-flank, length + flank)
    changes = []
    for offset in offsets.tolist():
        mutated = bases.clone()
        for site in sites:
            along = length - 1 - offset if site.reverse else offset
            position = site.start + along
            if 0 <= position < bases.shape[1] and bases[site.window, position] < 4:
                # A, C, G, T are 0 to 3: a base and its complement add up to 3.
                mutated[site.window, position] = 3 - bases[site.window, position]
        change = (predict(_with_bases(batch, mutated)) - before).abs()
        changes.append(float(change[batch.usable].mean()) * LOG2_PER_UNIT)
    return offsets, np.array(changes)


def filter_motifs(
    tower: DnaTower, bases: UInt8[Tensor, "batch bases"], *, top: int = 200
) -> Float64[np.ndarray, "filters positions 4"]:
    """Return what each filter of the first stage answers to: base frequencies at its top positions.

    Args:
        tower: A trained DNA tower.
        bases: DNA to scan.
        top: Positions that are averaged.
    """
    with torch.no_grad():
        activation = tower.bases.block.conv(one_hot(bases, torch.float32))[:, :, 0]
    filters = activation.shape[1]
    positions = activation.transpose(0, 1).reshape(filters, -1).topk(top, dim=1).indices
    per_window = activation.shape[2]
    # The convolution is unpadded: its output at i has seen the FIRST_KERNEL bases from i on.
    window, start = positions // per_window, positions % per_window
    along = torch.arange(FIRST_KERNEL, device=bases.device)
    words = bases[window[..., None], start[..., None] + along]
    spelt = words[..., None] == torch.arange(4, dtype=torch.uint8, device=bases.device)
    return spelt.double().mean(dim=1).cpu().numpy()


@torch.no_grad()
def filter_strengths(model: Enhancer, batch: Batch) -> Float64[np.ndarray, " filters"]:
    """Return how much predictions change, in log2, where a filter's answers trade places.

    Silencing would favour filters that answer everywhere alike: it shifts a level that the
    network counts on. Among the same answers at random places, only what they told is lost.

    Args:
        model: With a DNA tower; left as it is.
        batch: Windows on the diagonal, with DNA.

    Raises:
        ValueError: The network has no DNA tower.
    """
    if not isinstance(model.head.dna, DnaTower):
        raise ValueError("a network without a DNA tower has no filters to permute")
    predict, layer = model_predictor(model), model.head.dna.bases.block.conv
    before, strengths = predict(batch), []
    for filter_ in range(layer.out_channels):
        with layer.register_forward_hook(_Permute(filter_)):
            change = (predict(batch) - before).abs()[batch.usable].mean()
        strengths.append(float(change) * LOG2_PER_UNIT)
    return np.array(strengths)


class _Permute:
    """A hook that permutes one channel of a layer's output along the DNA."""

    def __init__(self, channel: int) -> None:
        self.channel, self.random = channel, torch.Generator().manual_seed(0)

    def __call__(self, _layer: nn.Module, _given: object, output: Tensor) -> Tensor:
        order = torch.randperm(output.shape[-1], generator=self.random).to(output.device)
        permuted = output.clone()
        permuted[:, self.channel] = output[:, self.channel][..., order]
        return permuted


def motif_likeness(pwm: Pwm, motif: Pwm) -> float:
    """Return the best correlation of two motifs over shifts and strands.

    At least two thirds of the shorter one overlap.
    """
    best = -1.0
    least = -(-2 * min(len(pwm), len(motif)) // 3)
    # Positions and A, C, G, T both the other way round: the reverse complement.
    for strand in (motif, motif[::-1, ::-1]):
        for shift in range(least - len(strand), len(pwm) - least + 1):
            first, end = max(0, shift), min(len(pwm), shift + len(strand))
            pair = pwm[first:end].ravel(), strand[first - shift : end - shift].ravel()
            if min(part.std() for part in pair) > 0:
                best = max(best, float(np.corrcoef(*pair)[0, 1]))
    return best


def _bases(windows: Batch | Inputs) -> UInt8[Tensor, "batch bases"]:
    if windows.row_bases is None or bool(windows.diagonal.any()):
        raise ValueError("ablation reads windows on the diagonal that bring their DNA")
    return windows.row_bases


def _with_bases(windows: AnyWindows, bases: UInt8[Tensor, "batch bases"]) -> AnyWindows:
    """Return windows of other DNA: of both axes, where a network reads each by itself."""
    both = None if windows.col_bases is None else bases
    return replace(windows, row_bases=bases, col_bases=both)


def _random_like(
    codes: UInt8[Tensor, " bases"], length: int, rng: np.random.Generator
) -> UInt8[Tensor, " length"]:
    """Draw bases with the frequencies of a window's own."""
    letters = codes[codes < 4].cpu().numpy()
    drawn = rng.choice(letters if len(letters) else np.arange(4, dtype=np.uint8), length)
    return torch.from_numpy(drawn.astype(np.uint8)).to(codes.device)
