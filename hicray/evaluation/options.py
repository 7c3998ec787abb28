"""What a user may say about maps that are scored, and about baselines; light to import."""

from collections.abc import Mapping
from dataclasses import dataclass

from hicray.config import UserError

FINE = "fine"
"""The truth's name beside those of other maps."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Maps against a fine map."""

    fine: str
    """The truth: .cool, .hic, or one resolution of an .mcool (F.mcool::/resolutions/4000)."""
    enhanced: tuple[str, ...]
    """What is judged, as NAME=MAP; of an .mcool, the resolution of the fine map."""
    chroms: tuple[str, ...]
    """Chromosomes to score; none of them may have been trained on."""
    bin_size: int = 0
    """In bp, where --fine holds several."""
    window_bins: int = 224
    """Bins along each side of a window."""
    weights: str = "weight"
    """Column of balancing weights; maps without it are taken by 'weight', or as they are."""

    def named(self) -> Mapping[str, str]:
        """Return the URI of each map that is judged, by its name.

        Raises:
            UserError: One is not of the form NAME=MAP, or its name is taken.
        """
        uris: dict[str, str] = {}
        for word in self.enhanced:
            name, _, uri = word.partition("=")
            if not name or not uri:
                raise UserError(
                    f"--enhanced {word} names no method; give NAME=MAP, such as seq={word}"
                )
            if name in uris or name == FINE:
                raise UserError(
                    f"--enhanced {word} has a name that is taken ({FINE!r} is the truth's); give "
                    "the map another name"
                )
            uris[name] = uri
        return uris


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What a model has to beat, as maps."""

    contacts: str
    """Map of reads (.mcool, .cool or .hic); a missing coarse level is summed from the fine one."""
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
