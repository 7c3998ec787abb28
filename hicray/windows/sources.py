"""The maps of a data set: one fine map and its coarse maps per source, opened or derived."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hicray.config import DataConfig, UserError
from hicray.io.storage import Location
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.levels import levels
from hicray.maps.thin import derive
from hicray.windows.manifest import coarse_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes:
        name: Unique within a shard set.
        fine: The target map.
        coarse: The input maps by bin size in bp; thinned ones may have the fine bin size.
    """

    name: str
    fine: ContactMap
    coarse: Mapping[int, ContactMap]

    @property
    def maps(self) -> dict[str, ContactMap]:
        """All maps by the name that shard columns use: fine, coarse_8000, ..."""
        return {"fine": self.fine} | {coarse_name(b): m for b, m in self.coarse.items()}


def source_names(contacts: tuple[str, ...]) -> list[str]:
    """Return a short unique name for each map: its file's name without endings.

    Raises:
        UserError: Two maps are the same.
    """
    if len(set(contacts)) < len(contacts):
        raise UserError(f"a map is given twice in {', '.join(contacts)}; name each once")
    stems = [Path(uri.partition("::")[0]).name.split(".")[0] for uri in contacts]
    unique = len(set(stems)) == len(stems)
    return stems if unique else [f"{stem}_{i}" for i, stem in enumerate(stems)]


def open_sources(config: DataConfig, derived: Location) -> list[Source]:
    """Open every map of a data set at every bin size, making those that are missing.

    Args:
        config: The data set.
        derived: Folder for maps that have to be made: thinned ones, and levels not in the file.
    """
    return [
        _open_source(config, name, uri, derived)
        for name, uri in zip(source_names(config.contacts), config.contacts, strict=True)
    ]


def _open_source(config: DataConfig, name: str, uri: str, derived: Location) -> Source:
    fine = open_map(uri, config.fine_bin_size, weights_name=config.weights)
    if config.coarse_keep < 1:
        return _thinned(config, name, fine, derived)
    offered = levels(uri)
    missing = tuple(b for b in config.coarse_bin_sizes if b not in offered)
    coarse = {
        b: open_map(uri, b, weights_name=config.weights)
        for b in config.coarse_bin_sizes
        if b not in missing
    }
    if missing:
        logger.warning(
            "%s has no bins of %s bp: summed from %d bp and balanced anew, within chromosomes",
            uri, ", ".join(map(str, missing)), fine.bin_size,
        )  # fmt: skip
        coarse |= derive(fine, missing, derived / f"{name}.mcool")
    return Source(name, fine, {b: coarse[b] for b in config.coarse_bin_sizes})


def _thinned(config: DataConfig, name: str, fine: ContactMap, derived: Location) -> Source:
    sizes, keep, seed = config.coarse_bin_sizes, config.coarse_keep, config.data_seed
    kept = derive(fine, sizes, derived / f"{name}.kept.mcool", keep=keep, seed=seed, side="kept")
    # Thinned by the same seed, so that no read is in both the coarse maps and the fine one.
    if config.disjoint_reads:
        dropped = derived / f"{name}.dropped.mcool"
        size = (fine.bin_size,)
        fine = derive(fine, size, dropped, keep=keep, seed=seed, side="dropped")[fine.bin_size]
    return Source(name, fine, kept)
