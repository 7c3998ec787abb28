"""A trained network in Python: opened once, then put to any stretch of any map."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hicray.config import UserError
from hicray.maps.bins import Region
from hicray.maps.contacts import ContactMap
from hicray.maps.contents import require_any
from hicray.maps.genome import Genome
from hicray.maps.names import region_of
from hicray.model.trained import Trained
from hicray.predict.ablation import LocusAblation, ablate_window
from hicray.predict.locus import Dna, MapFacts, Tracks, measure_for
from hicray.predict.network import Network, NetworkFile
from hicray.predict.preflight import dna_of, require_ablatable, tracks_of
from hicray.predict.region import EnhancedRegion, enhance_region
from hicray.predict.tiler import Tiled, Tiler
from hicray.windows.tiles import tiling


class _Map(NamedTuple):
    """What was found of a map when it was first used, and the network with the scale for it."""

    facts: MapFacts
    file: NetworkFile


class _Held(NamedTuple):
    """The chromosome that was enhanced last: which it is, and what holds it."""

    key: tuple[str, ...]
    tiler: Tiler


class Model:
    """A trained network.

    Args:
        file: As ``network.find`` found it.
        device: Where it predicts: 'cpu', 'cuda', 'cuda:1', ...
    """

    def __init__(self, file: NetworkFile, device: str = "cpu") -> None:
        self.file, self.device = file, device
        self._network: Network = file.open(torch.device(device))
        self._maps: dict[tuple[str, str], _Map] = {}
        self._held: _Held | None = None

    @property
    def trained(self) -> Trained:
        """What it was trained on: bin sizes, length of a window, chromosomes, maps."""
        return self.file.trained

    @property
    def reads_dna(self) -> bool:
        """Whether it needs a genome."""
        return self.file.reads_dna

    def enhance(
        self,
        region: str,
        contacts: ContactMap,
        genome: Genome | None = None,
        *,
        dna_embeddings: str | Path = "",
        tracks: Mapping[str, str] | None = None,
        match_chr: bool = False,
    ) -> EnhancedRegion:
        """Return an enhanced stretch of a chromosome.

        The whole map is read when it is first used, for its depth and its decay with distance; of
        its chromosomes, the last one is kept.

        Args:
            region: ``chrom:start-end`` in bp, 0-based and half-open; commas are allowed.
            contacts: Of the coarse bin size that the network reads.
            genome: That the map was aligned to; for a network that reads DNA.
            dna_embeddings: Table of that genome, for a network that reads stored embeddings.
            tracks: File of each track, by its name, for a network that reads tracks.
            match_chr: Take names of map and genome that differ only in 'chr' as the same.

        Returns:
            Contacts of the fine bins that the region touches, in the map's balanced contacts.

        Raises:
            UserError: The region, the map or the genome is not what the network can read.
        """
        asked = self._region(region, contacts)
        dna = dna_of(
            self.file, contacts, (asked.chrom,), genome,
            match_chr=match_chr, embeddings=str(dna_embeddings),
        )  # fmt: skip
        words = [f"{name}={file}" for name, file in (tracks or {}).items()]
        measured = tracks_of(self.file, contacts, words)
        found = enhance_region(self._tiler(contacts, dna, asked.chrom, measured), asked)
        if np.isnan(found.contacts).all():
            require_any(contacts, (asked.chrom,), raw=self.trained.raw)
        return found

    def ablate(
        self,
        stretch: str,
        contacts: ContactMap,
        genome: Genome,
        *,
        draws: int = 8,
        match_chr: bool = False,
    ) -> LocusAblation:
        """Return the window around a stretch of DNA with and without it.

        Args:
            stretch: ``chrom:start-end`` in bp, replaced by random bases.
            contacts: Of the coarse bin size that the network reads.
            genome: That the map was aligned to.
            draws: Random replacements whose predictions are averaged.
            match_chr: Take names of map and genome that differ only in 'chr' as the same.

        Raises:
            UserError: The network reads no DNA, or the stretch does not fit a window.
        """
        asked = self._region(stretch, contacts)
        require_ablatable(self.file, asked, contacts)
        dna = dna_of(self.file, contacts, (asked.chrom,), genome, match_chr=match_chr)
        loci = self._tiler(contacts, dna, asked.chrom).loci
        scale = self.trained.chosen(loci.facts.total_reads)
        return ablate_window(loci, self._network, asked, scale=scale, draws=draws)

    def _region(self, text: str, contacts: ContactMap) -> Region:
        """Read a region of a map that this network can read."""
        if contacts.bin_size != self.trained.coarse_bin_size:
            raise UserError(
                f"{contacts.uri} was opened at bins of {contacts.bin_size:,} bp, this network "
                f"reads {self.trained.coarse_bin_size:,}; open it with that bin size"
            )
        region = region_of(text, contacts)
        length = contacts.chromsizes[region.chrom]
        if region.end > length:
            raise UserError(
                f"{text} ends beyond {region.chrom} of {length:,} bp; give a region within it"
            )
        return region

    def _facts(self, contacts: ContactMap) -> _Map:
        key = contacts.uri, contacts.weights_name
        if key not in self._maps:
            facts = measure_for(self.trained, contacts)
            length = sum(contacts.chromsizes.values())
            self._maps[key] = _Map(facts, self.file.for_map(facts.total_reads, length))
        return self._maps[key]

    def _tiler(
        self, contacts: ContactMap, dna: Dna | None, chrom: str, tracks: Tracks | None = None
    ) -> Tiler:
        """Return what predicts on a chromosome; the same one as before where nothing differs."""
        sequence = (dna.fasta, dna.embeddings, dna.names[chrom]) if dna else ()
        files = tracks.measured.tracks if tracks else ()
        key = (contacts.uri, contacts.weights_name, chrom, *sequence, *files)
        if self._held is None or self._held.key != key:
            self._held = None  # before the next is read, so that memory is one chromosome's
            facts, file = self._facts(contacts)
            trained = file.trained
            how = tiling(trained.offsets, window=trained.window_bins, factor=trained.factor)
            tiled = Tiled(network=file, contacts=contacts, dna=dna, tiling=how, tracks=tracks)
            self._held = _Held(key, Tiler(tiled, facts, self._network))
        return self._held.tiler

    def like(self, name: str) -> "Model":
        """Return it with the scale of one of the maps that it was trained on.

        Args:
            name: Of that map, as ``trained.sources`` has it.

        Raises:
            UserError: It was trained on no such map.
        """
        return Model(replace(self.file, trained=self.trained.like(name)), self.device)
