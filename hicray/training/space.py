"""What a search tries: cells, and the choices of each.

{seq, noseq} x {gaps} are cells, not knobs: the easier gap must not starve the harder one, nor
one arm get more tries. Every cell has as many trials, of the same seed, from the same first
guess.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hicray import config as cfg
from hicray.training.checkpoint import by_content
from hicray.windows.manifest import Manifest

SSIM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4)
DEPTHS = (1, 2, 3, 4, 5, 6)
FUSIONS: tuple[cfg.Fusion, ...] = ("both", "pairwise", "tokens")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What is searched.

    Attributes:
        model: First guess of the network.
        train: First guess of the training.
        sequences: Arms: each with each gap is a cell.
        trials: Per cell.
        seed: Of the searcher.
        seeds: Training seeds that each cell's best configuration ends with.
    """

    model: cfg.ModelConfig
    train: cfg.TrainConfig
    sequences: tuple[cfg.Sequence, ...] = ("off", "on")
    trials: int = 4
    seed: int = 0
    seeds: int = 1


class Cell(NamedTuple):
    """One arm at one gap."""

    coarse_bin_size: int
    sequence: cfg.Sequence

    def first_guess(self, search: SearchConfig) -> cfg.TrialConfig:
        """Return the configuration that every cell tries first."""
        model = replace(search.model, sequence=self.sequence)
        return cfg.TrialConfig(
            coarse_bin_size=self.coarse_bin_size, model=model, train=search.train
        )

    def space(self, search: SearchConfig) -> dict[str, tuple[Any, ...]]:
        """Return the choices of each searched setting, the first guess among them.

        DNA's are searched where there is DNA, the depth where there is a tower.
        """
        space: dict[str, tuple[Any, ...]] = {"train.ssim_weight": SSIM_WEIGHTS}
        if self.sequence != "off":
            space["model.fusion"] = FUSIONS
            if search.model.dna == "tower" and self.sequence != "composition":
                space["model.depth"] = DEPTHS
        guess = cfg.flatten(self.first_guess(search))
        return {name: tuple(dict.fromkeys((*v, guess[name]))) for name, v in space.items()}


def search_name(search: SearchConfig, manifest: Manifest) -> str:
    """Return the identity of a search on a shard set."""
    identity = replace(search, model=by_content(search.model))
    return f"search-{cfg.digest([cfg.digest(identity), manifest.plan])}"
