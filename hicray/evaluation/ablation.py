"""What a stretch of a map's DNA does to its contacts, as a network sees it."""

from typing import NamedTuple

import torch

from hicray.evaluation.interpret import Ablation, Site, ablate
from hicray.evaluation.preflight import Opened
from hicray.figures import Picture, map_panels
from hicray.maps.bins import Region
from hicray.windows.locus import Loci, measure_for
from hicray.windows.scales import from_network, to_network
from hicray.windows.trained import Trained


class LocusAblation(NamedTuple):
    """A window with and without a stretch of its DNA.

    Attributes:
        region: The stretch.
        scale: Whose scale the network took, and why.
        start: Of the window, in bp.
        coarse: The map that was given, in scaled contacts per fine pixel.
        ablation: Of one window.
    """

    region: Region
    scale: str
    start: int
    coarse: torch.Tensor
    ablation: Ablation

    def picture(self) -> Picture:
        """Return the window's maps: coarse, with the stretch, without, and the change."""
        before, after = (to_network(maps)[0].numpy() for maps in self.ablation)
        change = self.ablation.log2_change[0].numpy()
        maps = {"coarse": to_network(self.coarse)[0].numpy(), "with it": before}
        maps |= {"without it": after, "difference (log2 fold change)": change}
        stretch = f"{self.region.chrom}:{self.region.start:,}-{self.region.end:,}"
        window = f"{self.region.chrom}, from {self.start:,} bp"
        return map_panels({window: maps}, f"DNA of {stretch} replaced; log10(x + 1) / 3")


def ablate_locus(opened: Opened, region: Region, *, draws: int = 8) -> LocusAblation:
    """Predict the window around a stretch of DNA with and without it.

    Args:
        opened: A network that reads DNA, its map and genome.
        region: The stretch.
        draws: Random replacements that are averaged.
    """
    file, contacts = opened.network, opened.contacts
    facts = measure_for(file.trained, contacts)
    scale = file.trained.chosen(facts.total_reads)
    file = file.for_map(facts.total_reads, sum(contacts.chromsizes.values()))
    trained = file.trained
    loci = Loci(contacts, facts, trained, opened.dna)
    start = _window_start(region, contacts.chromsizes[region.chrom], trained)
    windows = loci.inputs(region.chrom, [(start, start)])
    site = Site(0, region.start - start + file.flank_bins * trained.fine_bin_size)
    length = region.end - region.start
    found = ablate(file.open().values, windows, [site], length, draws=draws)
    return LocusAblation(region, scale, start, from_network(windows.coarse), found)


def _window_start(region: Region, length: int, trained: Trained) -> int:
    """Return where a window begins that has the stretch in its middle, as far as it can."""
    window, size = trained.window_bins * trained.fine_bin_size, trained.coarse_bin_size
    middle = (region.start + region.end - window) // 2
    last = max(length - window + size - 1, 0)
    start = min(max(middle, 0), last) // size * size
    return min(start, region.start // size * size)
