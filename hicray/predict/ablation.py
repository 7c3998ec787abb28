"""What a stretch of a map's DNA does to its contacts, as a network sees it."""

from typing import NamedTuple

import numpy as np
import torch

from hicray.figures import Picture
from hicray.maps.bins import Region
from hicray.model.trained import Trained
from hicray.panels import Locus, locus_panels
from hicray.predict.interpret import Ablation, Site, ablate
from hicray.predict.locus import Loci, measure_for
from hicray.predict.network import Network
from hicray.predict.preflight import Opened
from hicray.training.examples import COARSE
from hicray.windows.scales import from_network

WITH, WITHOUT = "enhanced", "enhanced, DNA replaced"


class LocusAblation(NamedTuple):
    """A window with and without a stretch of its DNA.

    Attributes:
        region: The stretch.
        scale: Whose scale the network took, and why.
        start: Of the window, in bp.
        bin_size: Of the maps, in bp.
        coarse: The map that was given, in scaled contacts per fine pixel.
        base: Its O/E by its own decay, times what is expected.
        expected: Contacts that distance alone expects.
        usable: Bins that count.
        ablation: Of one window.
    """

    region: Region
    scale: str
    start: int
    bin_size: int
    coarse: torch.Tensor
    base: torch.Tensor
    expected: torch.Tensor
    usable: torch.Tensor
    ablation: Ablation

    def picture(self) -> Picture:
        """Return the window's maps: coarse, with the stretch, without, and the change."""
        mask = self.usable[:, None] & self.usable
        coarse, base, expected, before, after = (
            torch.where(mask, maps[0], torch.nan).double().numpy()
            for maps in (self.coarse, self.base, self.expected, *self.ablation)
        )
        locus = Locus(
            chrom=self.region.chrom,
            row_start=self.start,
            col_start=self.start,
            bin_size=self.bin_size,
            maps={COARSE: coarse, WITH: before, WITHOUT: after},
            expected=expected,
            by_own_decay={COARSE: base},
            against=WITH,
            compared=(WITHOUT,),
            marked=(self.region.start, self.region.end),
        )
        stretch = f"{self.region.chrom}:{self.region.start:,}-{self.region.end:,}"
        return locus_panels([locus], f"DNA of {stretch} (dotted) replaced")


def ablate_locus(opened: Opened, region: Region, *, draws: int = 8) -> LocusAblation:
    """Read a map, and predict the window around a stretch of its DNA with and without it.

    Args:
        opened: A network that reads DNA, its map and genome.
        region: The stretch.
        draws: Random replacements that are averaged.
    """
    file, contacts = opened.network, opened.contacts
    facts = measure_for(file.trained, contacts)
    scale = file.trained.chosen(facts.total_reads)
    file = file.for_map(facts.total_reads, sum(contacts.chromsizes.values()))
    loci = Loci(contacts, facts, file.trained, opened.dna, opened.tracks)
    return ablate_window(loci, file.open(), region, scale=scale, draws=draws)


def ablate_window(
    loci: Loci, network: Network, region: Region, *, scale: str, draws: int
) -> LocusAblation:
    """Predict the window around a stretch of DNA with and without it.

    Args:
        loci: Of a map with its DNA, as the network sees it.
        network: One that reads DNA.
        region: The stretch.
        scale: Whose scale the network took, and why.
        draws: Random replacements that are averaged.
    """
    trained, flank_bins = loci.trained, loci.dna.flank_bins if loci.dna else 0
    start = _window_start(region, loci.contacts.chromsizes[region.chrom], trained)
    windows = loci.inputs(region.chrom, [(start, start)], network.device)
    site = Site(0, region.start - start + flank_bins * trained.fine_bin_size)
    length = region.end - region.start
    ablation = ablate(network.values, windows, [site], length, draws=draws)
    first = start // trained.fine_bin_size
    usable = np.zeros(trained.window_bins, bool)
    inside = loci.usable(region.chrom)[first : first + trained.window_bins]
    usable[: len(inside)] = inside
    return LocusAblation(
        region=region,
        scale=scale,
        start=start,
        bin_size=trained.fine_bin_size,
        coarse=from_network(windows.coarse).cpu(),
        base=from_network(windows.base).cpu(),
        expected=from_network(windows.expected).cpu(),
        usable=torch.from_numpy(usable),
        ablation=Ablation(*(maps.cpu() for maps in ablation)),
    )


def _window_start(region: Region, length: int, trained: Trained) -> int:
    """Return where a window begins that has the stretch in its middle, as far as it can."""
    window, size = trained.window_bins * trained.fine_bin_size, trained.coarse_bin_size
    middle = (region.start + region.end - window) // 2
    # In whole coarse bins: the last window may run past the end by less than one.
    last = max(length - window + size - 1, 0)
    start = min(max(middle, 0), last) // size * size
    return min(start, region.start // size * size)
