"""What a network was trained on, kept with its checkpoint: prediction can use no other scale."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hicray.config import UserError
from hicray.windows.manifest import Manifest, coarse_name


@dataclass(frozen=True, kw_only=True)
class TrainedSource:
    """One of the maps that a network was trained on.

    Attributes:
        name: As the shard set names it.
        total_reads: Of its coarse map, within chromosomes; 0 where an older checkpoint has none.
        cap: Largest count that its image tells apart; None takes each window's own maximum.
        fine_expected: Scaled mean contacts by separation of fine bins, as far as training windows
            reached.
    """

    name: str
    total_reads: int
    cap: float | None
    fine_expected: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a network's windows lay and how their contacts became its input.

    Attributes:
        fine_bin_size: Of the maps that it returns, in bp.
        coarse_bin_size: Of the maps that it reads, in bp.
        window_bins: Fine bins along each side of a window.
        raw: Whether contacts were raw counts instead of balanced.
        eps: Pseudo-count of observed over expected, in contacts.
        chroms: Training chromosomes, or regions of them.
        sources: The maps, at least one; a network that reads a map takes the scale of one.
    """

    fine_bin_size: int
    coarse_bin_size: int
    window_bins: int
    raw: bool
    eps: float
    chroms: tuple[str, ...]
    sources: tuple[TrainedSource, ...]

    @property
    def factor(self) -> int:
        """Fine bins to a coarse one."""
        return self.coarse_bin_size // self.fine_bin_size

    @property
    def layout(self) -> dict[str, int]:
        """How windows lie, as networks are built for them."""
        return {
            "window_bins": self.window_bins,
            "bin_size": self.fine_bin_size,
            "factor": self.factor,
        }

    @property
    def num_separations(self) -> int:
        """Fine separations that training windows reached, from 0 up."""
        return len(self.sources[0].fine_expected)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Diagonals on which training windows lay: first column minus first row, in fine bins."""
        # A window at an offset reaches separations up to the offset and its own length.
        last = self.num_separations - self.window_bins
        return tuple(range(0, last + 1, self.window_bins))

    @property
    def source(self) -> TrainedSource:
        """The one source whose scale is taken.

        Raises:
            ValueError: None of several is chosen yet.
        """
        if len(self.sources) > 1:
            raise ValueError("choose a source by `like` or `nearest` before a map is read")
        return self.sources[0]

    def like(self, name: str) -> "Trained":
        """Return it with the scale of the source of that name.

        Raises:
            UserError: There is none.
        """
        for source in self.sources:
            if source.name == name:
                return replace(self, sources=(source,))
        names = ", ".join(source.name for source in self.sources if source.name)
        raise UserError(
            f"--like {name} is no map that this network was trained on ({names or 'unknown'}); "
            "give one of those, or leave it out for the one that is nearest in depth"
        )

    def nearest(self, total_reads: int) -> "Trained":
        """Return it with the scale of the source whose coarse map is nearest in depth."""

        def apart(source: TrainedSource) -> float:
            return abs(math.log(max(source.total_reads, 1) / max(total_reads, 1)))

        return replace(self, sources=(min(self.sources, key=apart),))

    def chosen(self, total_reads: int) -> str:
        """Say whose scale ``nearest`` takes for a map of so many reads, and why."""
        source = self.nearest(total_reads).source
        if not source.name:
            return f"scale of the map itself, {total_reads:,} reads"
        reads = f" ({source.total_reads:,} reads)" if source.total_reads else ""
        others = [other.name for other in self.sources if other != source]
        why = f", nearer in depth than {', '.join(others)}" if others else ""
        return f"scale of {source.name}{reads} for a map of {total_reads:,} reads{why}"


def trained_on(manifest: Manifest, coarse_bin_size: int) -> Trained:
    """Return what a network of one gap is trained on."""
    name = coarse_name(coarse_bin_size)
    return Trained(
        fine_bin_size=manifest.fine_bin_size,
        coarse_bin_size=coarse_bin_size,
        window_bins=manifest.window_bins,
        raw=manifest.raw,
        eps=manifest.eps,
        chroms=tuple(chrom for chrom, split in manifest.splits.items() if split == "train"),
        sources=tuple(
            TrainedSource(
                name=source,
                total_reads=info.total_reads[name],
                cap=info.caps[name],
                fine_expected=tuple(info.expected["fine"]),
            )
            for source, info in manifest.sources.items()
        ),
    )


def from_plain(fields: Mapping[str, Any], where: object) -> Trained:
    """Read what ``asdict`` and JSON made of it.

    Args:
        fields: By name.
        where: Checkpoint that they come from, for the sentence.

    Raises:
        UserError: An older hicray kept only the mean of several maps.
    """
    fields = dict(fields)
    sources = fields["sources"]
    if "fine_expected" in fields:  # written before sources had scales of their own
        curve, cap = fields.pop("fine_expected"), fields.pop("cap")
        if len(sources) > 1:
            raise UserError(
                f"{where} was trained on {', '.join(sources)} by an older hicray, which kept only "
                "the mean of their scales; train anew in another --storage folder"
            )
        sources = [
            {"name": name, "total_reads": 0, "cap": cap, "fine_expected": curve} for name in sources
        ]
    entries = (entry | {"fine_expected": tuple(entry["fine_expected"])} for entry in sources)
    fields["sources"] = tuple(TrainedSource(**entry) for entry in entries)
    return Trained(**fields | {"chroms": tuple(fields["chroms"])})
