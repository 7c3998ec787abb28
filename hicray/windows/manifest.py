"""The manifest of a shard set: what is in the folder, and what decoding it needs.

It is written last, so a folder without one is unfinished.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hicray.config import UserError
from hicray.io.notes import write_json
from hicray.io.storage import Location
from hicray.maps.bins import Region, SplitName
from hicray.maps.split import Sets, named_region

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
PLAN = "plan.json"
GENOME = "genome.parquet"
EPS = 1.0
"""Pseudo-count of observed over expected, in contacts: one read."""
SPARSE_CAP = 100.0
"""HiCFoundation caps its image at 100 where a map has at most one read per base pair."""


def image_cap(total_reads: int, genome_length: int) -> float | None:
    """Return the largest count that the image tells apart; None for deeply sequenced maps."""
    return None if total_reads / genome_length > 1 else SPARSE_CAP


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One parquet shard."""

    file: str
    split: SplitName
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What decoding needs to know of a source; maps are named fine, coarse_8000, ...

    Attributes:
        contacts: Path or URI it was read from.
        fingerprint: As ``sources.fingerprint``.
        chromsizes: In bp.
        total_reads: Within chromosomes, by map.
        scale: Factor by map that brings its balanced sum to its raw sum.
        caps: As ``image_cap`` has it, by map.
        expected: Scaled mean contacts by separation (own bins), by map, training chromosomes.
    """

    contacts: str
    fingerprint: str
    chromsizes: Mapping[str, int]
    total_reads: Mapping[str, int]
    scale: Mapping[str, float]
    caps: Mapping[str, float | None]
    expected: Mapping[str, list[float]]

    def curve(self, name: str) -> Float64[np.ndarray, " separations"]:
        """Return the expected contacts of a map by separation."""
        return np.asarray(self.expected[name], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished shard set; sizes in bp where called ``bin_size``, else in bins.

    ``splits`` names the set of each chromosome, or region as 'chrom:start-end', that has one.
    """

    plan: str
    fine_bin_size: int
    coarse_bin_sizes: tuple[int, ...]
    window_bins: int
    diagonal_only: bool
    raw: bool
    eps: float
    splits: Mapping[str, SplitName]
    genome: Mapping[str, str]
    sources: Mapping[str, SourceInfo]
    shards: tuple[ShardFile, ...]
    dropped: Mapping[SplitName, int]
    schema_version: int = SCHEMA_VERSION

    @property
    def chromsizes(self) -> Mapping[str, int]:
        """Length of each chromosome, in bp, the same for all sources."""
        return next(iter(self.sources.values())).chromsizes

    @cached_property
    def regions(self) -> Sets:
        """The set of each region that has one."""
        named = {name: named_region(name, self.chromsizes) for name in self.splits}
        return {region: self.splits[name] for name, region in named.items() if region is not None}

    @property
    def chroms(self) -> tuple[str, ...]:
        """Chromosomes of which some region is in a set, in the map's order."""
        return tuple(dict.fromkeys(region.chrom for region in self.regions))

    def regions_of(self, split: SplitName) -> list[Region]:
        """Return the regions of a set."""
        return [region for region, name in self.regions.items() if name == split]

    def layout(self, coarse_bin_size: int) -> dict[str, int]:
        """Return how the windows of a gap lie, as networks are built for them."""
        return {
            "window_bins": self.window_bins,
            "bin_size": self.fine_bin_size,
            "factor": coarse_bin_size // self.fine_bin_size,
        }

    def gap_tag(self, coarse_bin_size: int) -> str:
        """Return e.g. '16000->4000', as runs and tables are marked with it."""
        return f"{coarse_bin_size}->{self.fine_bin_size}"

    def num_windows(self, split: SplitName) -> int:
        """Return the number of windows of a set."""
        return sum(shard.rows for shard in self.shards if shard.split == split)

    def files(self, split: SplitName) -> list[ShardFile]:
        """Return the shards of a set."""
        return [shard for shard in self.shards if shard.split == split]


def coarse_name(bin_size: int) -> str:
    """Return how columns and curves of a coarse map are named."""
    return f"coarse_{bin_size}"


def write_manifest(folder: Location, manifest: Manifest) -> None:
    """Finish a shard set."""
    write_json(folder / MANIFEST, asdict(manifest))


class ShardSet(NamedTuple):
    """A finished shard set: where it lies, and what it is."""

    folder: Location
    manifest: Manifest


def read_manifest(folder: Location) -> Manifest:
    """Open a shard set.

    Raises:
        UserError: The folder is unfinished, of another version of hicray, or names other folders.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} holds no finished shard set; run `hicray prepare` to make it")
    fields = json.loads((folder / MANIFEST).read_text())
    if fields["schema_version"] != SCHEMA_VERSION:
        raise UserError(
            f"{folder} has shards of schema {fields['schema_version']}, this hicray reads "
            f"{SCHEMA_VERSION}; prepare them anew in another folder"
        )
    fields["coarse_bin_sizes"] = tuple(fields["coarse_bin_sizes"])
    fields["sources"] = {name: SourceInfo(**info) for name, info in fields["sources"].items()}
    fields["shards"] = tuple(ShardFile(**shard) for shard in fields["shards"])
    for shard in fields["shards"]:
        if PurePosixPath(shard.file).name != shard.file:
            raise UserError(
                f"{folder / MANIFEST} names a shard {shard.file!r}, which is no file of its "
                "folder; use a shard set that `hicray prepare` wrote"
            )
    return Manifest(**fields)
