"""Tracks as networks read them: two values of each bin, on the scale of the training regions.

The first is log(1 + signal), less its mean over the training bins that the file covers and divided
by its deviation there, 0 where nothing is known; the second is the share of the bin that the file
covers. A track has no strand: seen from the other one, its bins are in reverse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.io.progress import tqdm
from hicray.io.storage import locate
from hicray.maps.bins import Region
from hicray.maps.contacts import open_map
from hicray.maps.names import listed
from hicray.maps.split import sets_of
from hicray.maps.tracks import BinnedTrack, Track, parse_tracks
from hicray.windows.bin_table import STRANDS, BinTable, GenomeTables
from hicray.windows.manifest import Manifest

VALUES = 2
"""Of a bin, for each track."""
_SEED = 0


class Measured(NamedTuple):
    """Tracks, and the scale of each.

    Attributes:
        tracks: As NAME=FILE.
        scales: Mean and deviation of the log signal on the training regions, one after the other.
    """

    tracks: tuple[str, ...]
    scales: tuple[float, ...]


def measured_by(model: ModelConfig) -> Measured:
    """Return the tracks of a network that is resolved."""
    return Measured(model.tracks, model.track_scales)


def require_tracks(model: ModelConfig, arms: Sequence[str]) -> None:
    """Refuse tracks that no arm reads, arms without any, and what is no bigWig.

    Args:
        model: Names the tracks.
        arms: Arms that are trained.

    Raises:
        UserError: It is one of these.
    """
    reading = [arm for arm in arms if "tracks" in arm]
    if bool(reading) != bool(model.tracks):
        raise UserError(
            f"arms {' '.join(arms)} with --tracks {' '.join(model.tracks) or 'none'} cannot be: "
            "give tracks together with an arm that reads them, tracks or on+tracks"
        )
    if "on+tracks" in arms and model.dna == "pooled":
        raise UserError(
            "--dna pooled has one embedding for a window, tracks have one for each bin; give --dna "
            "tower with the arm on+tracks"
        )
    for file in parse_tracks(model.tracks).values():
        Track(file)


def scaled(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """Return a network with its tracks' full paths and the scale of each.

    Args:
        model: The network.
        data: The data set, whose training regions give the scale.

    Raises:
        UserError: A track has none of the map's chromosomes, other lengths, or no values.
    """
    if not model.tracks:
        return model
    files = {name: str(locate(file)) for name, file in parse_tracks(model.tracks).items()}
    sizes = open_map(data.contacts[0], data.fine_bin_size).chromsizes
    sets = sets_of(data, sizes)
    training = [region for region, name in sets.items() if name == "train"]
    scales: list[float] = []
    for file in tqdm(files.values(), desc="scale tracks", unit="track"):
        scales += _scale(Track(file), sizes, training, data.fine_bin_size)
    named = tuple(f"{name}={file}" for name, file in files.items())
    return replace(model, tracks=named, track_scales=tuple(scales))


def _scale(
    track: Track, sizes: Mapping[str, int], training: Sequence[Region], bin_size: int
) -> tuple[float, float]:
    """Return mean and deviation of log(1 + signal) over the training bins that are covered."""
    names = track.names(sizes)
    logs = []
    for region in training:
        if region.chrom in names:
            bins = slice(region.start // bin_size, -(-region.end // bin_size))
            binned = track.binned(names[region.chrom], bin_size)
            logs.append(np.log1p(binned.signal[bins][binned.covered[bins] > 0]))
    known = np.concatenate(logs) if logs else np.empty(0)
    if not len(known) or not np.isfinite(known).all() or known.std() == 0:
        raise UserError(
            f"{track.file} tells no two bins of the training chromosomes apart "
            f"({listed(names)}); give a track that has values there, none below -1"
        )
    return float(known.mean()), float(known.std())


def read_tracks(model: ModelConfig, manifest: Manifest) -> GenomeTables:
    """Read the tracks of a network; shuffled: the bins of each chromosome in another order.

    Args:
        model: Resolved.
        manifest: Of the shard set, whose chromosomes are read.
    """
    sizes = {chrom: manifest.chromsizes[chrom] for chrom in manifest.chroms}
    own = track_table(measured_by(model), sizes, manifest.fine_bin_size)
    rng = np.random.default_rng(_SEED)
    mixed = {
        chrom: values[:, rng.permutation(values.shape[1])] for chrom, values in own.chroms.items()
    }
    return GenomeTables(own, replace(own, chroms=mixed))


def track_table(measured: Measured, sizes: Mapping[str, int], bin_size: int) -> BinTable:
    """Return the values of the bins of some chromosomes.

    Args:
        measured: The tracks.
        sizes: Length of those chromosomes, in bp, by the map's names.
        bin_size: Of the fine bins, in bp.
    """
    tracks = [Track(file) for file in parse_tracks(measured.tracks).values()]
    named = [track.names(sizes) for track in tracks]
    chroms = {}
    for chrom, length in sizes.items():
        bins = -(-length // bin_size)
        values = torch.zeros(bins, VALUES * len(tracks))
        for i, (track, names) in enumerate(zip(tracks, named, strict=True)):
            if chrom in names:
                binned = track.binned(names[chrom], bin_size)
                mean, deviation = measured.scales[2 * i : 2 * i + 2]
                values[:, VALUES * i : VALUES * (i + 1)] = _scaled(binned, mean, deviation)
        # Both strands tell the same of a bin.
        chroms[chrom] = np.stack([values.numpy()] * len(STRANDS))
    return BinTable(bin_size, VALUES * len(tracks), chroms)


def _scaled(binned: BinnedTrack, mean: float, deviation: float) -> Float[Tensor, "bins values"]:
    known: Float64[np.ndarray, " bins"] = (np.log1p(binned.signal) - mean) / deviation
    both = [np.where(binned.covered > 0, known, 0.0), binned.covered]
    return torch.from_numpy(np.stack(both, axis=1)).float()
