"""What a user may say about maps that are scored, and about baselines; light to import."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Maps against a fine map."""

    fine: str
    """The truth: .cool, .hic, or one resolution of an .mcool (F.mcool::/resolutions/4000)."""
    enhanced: tuple[str, ...]
    """What is judged, as NAME=MAP; of an .mcool, the resolution of the fine map."""
    chroms: tuple[str, ...]
    """Chromosomes to score; none of them may have been trained on."""
    out: Path
    """Folder for evaluate.md, evaluate.json and the figures."""
    bin_size: int = 0
    """In bp, where --fine holds several."""
    window_bins: int = 224
    """Bins along each side of a window."""
    weights: str = "weight"
    """Column of balancing weights; maps without it are taken by 'weight', or as they are."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What a model has to beat, as maps."""

    contacts: str
    """Map of reads (.mcool, .cool or .hic); a missing coarse level is summed from the fine one."""
    out: Path
    """Folder for the maps; an interrupted run is finished."""
    fine_bin_size: int = 4_000
    """In bp."""
    coarse_bin_size: int = 16_000
    """In bp, a multiple of the fine one."""
    split: str = ""
    """A named split or one's own; filters are fitted on its training chromosomes, which give the
    expected too, and chosen on its validation chromosomes."""
    train_chroms: tuple[str, ...] = ()
    """The same, chromosome by chromosome, without filters that have to be chosen."""
    chroms: tuple[str, ...] = ()
    """Chromosomes to write; the split's test set, or all that do not train, if not given."""
    window_bins: int = 224
    """How far from the diagonal, in fine bins: as far as windows of so many reach."""
    weights: str = "weight"
    """Column of balancing weights."""
    raw: bool = False
    """Raw counts instead of balanced contacts."""
