"""What a search tries: cells, and the choices of each.

{seq, noseq} x {gaps} are cells, not knobs: the easier gap must not starve the harder one, nor
one arm get more tries. Every cell tries as many distinct configurations, of the same seed, from
the same first guess: what every network has is searched in every arm, so that none runs out.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hicray import config as cfg
from hicray.model.checkpoint import by_content
from hicray.windows.manifest import Manifest

SSIM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4)
RATE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Learning rates, relative to the first guess."""
DEPTHS = (1, 2, 3, 4, 5, 6)
LOSSES: tuple[cfg.Loss, ...] = ("likelihood", "correlation")
"""The report's loss is its own: it is not searched beside others."""
COARSE_WIDTHS = (16, 24, 96)
"""Beside the preset's, which is called 0: none of these is one, or it would be tried twice."""
COARSE_BLOCKS = (2, 4, 6)
START_WIDTHS_BINS = (0.0, 0.75, 1.5, 3.0)
"""Of the smoothed start, where the first guess has one."""
DENOISED_WIDTH_BINS = 1.5
HIDDEN_DNA = (0.0, 0.5, 0.8)
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
    sequences: tuple[cfg.SequenceMode, ...] = ("off", "on")
    trials: int = 4
    seed: int = 0
    seeds: int = 1


class Cell(NamedTuple):
    """One arm at one gap."""

    coarse_bin_size: int
    sequence: cfg.SequenceMode

    @property
    def name(self) -> str:
        """Return e.g. 'on-16000'."""
        return f"{self.sequence}-{self.coarse_bin_size}"

    def first_guess(self, search: SearchConfig) -> cfg.TrialConfig:
        """Return the configuration that every cell tries first."""
        model = replace(search.model, sequence=self.sequence)
        return cfg.TrialConfig(
            coarse_bin_size=self.coarse_bin_size, model=model, train=search.train
        )

    def space(self, search: SearchConfig) -> dict[str, tuple[Any, ...]]:
        """Return the choices of each searched setting, the first guess among them.

        The loss, the learning rate and the coarse path are searched in every arm; DNA's settings
        where there is DNA, the depth where there is a tower; how they join, for tracks too.
        """
        space: dict[str, tuple[Any, ...]] = {
            "train.ssim_weight": SSIM_WEIGHTS,
            "train.base_learning_rate": learning_rates(search.train.base_learning_rate),
        }
        if search.train.loss != "report":
            space["train.loss"] = LOSSES
        if search.model.coarse_path == "on":
            space["model.coarse_channels"] = COARSE_WIDTHS
            space["model.coarse_blocks"] = COARSE_BLOCKS
        if search.model.start_width_bins:
            space["model.start_width_bins"] = START_WIDTHS_BINS
        if self.sequence != "off":
            space["model.fusion"] = FUSIONS
            if self.first_guess(search).model.reads_dna:
                space["train.hidden_dna"] = HIDDEN_DNA
            if "tower" in search.model.dna and self.sequence not in ("composition", "tracks"):
                space["model.depth"] = DEPTHS
        guess = cfg.flatten(self.first_guess(search))
        return {name: tuple(dict.fromkeys((*v, guess[name]))) for name, v in space.items()}


def started(model: cfg.ModelConfig, data: cfg.DataConfig) -> cfg.ModelConfig:
    """Return the first guess for a data set: smoothed at the start where a map is to be denoised.

    That is one whose coarse bins are the fine ones, or whose reads are thinned.
    """
    denoised = data.coarse_keep < 1 or data.fine_bin_size in data.coarse_bin_sizes
    if model.start_width_bins or not (denoised and model.residual):
        return model
    return replace(model, start_width_bins=DENOISED_WIDTH_BINS)


def learning_rates(guess: float) -> tuple[float, ...]:
    """Return the base learning rates around a first guess, rounded so that they read well."""
    return tuple(
        guess if factor == 1 else float(f"{guess * factor:.3g}") for factor in RATE_FACTORS
    )


def cells(coarse_bin_sizes: Iterable[int], search: SearchConfig) -> list[Cell]:
    """Return the cells of a search, in the order in which they run."""
    return [Cell(size, arm) for size in coarse_bin_sizes for arm in search.sequences]


def require_distinct(search: SearchConfig, coarse_bin_sizes: Iterable[int]) -> None:
    """Refuse more trials than the smallest cell has configurations.

    Raises:
        UserError: There are, or there is no trial at all.
    """
    spaces = {cell: cell.space(search) for cell in cells(coarse_bin_sizes, search)}
    sizes = {cell: math.prod(map(len, space.values())) for cell, space in spaces.items()}
    least = min(sizes, key=lambda cell: sizes[cell])
    if not 1 <= search.trials <= sizes[least]:
        axes = " x ".join(f"{len(values)} {name}" for name, values in spaces[least].items())
        raise cfg.UserError(
            f"--trials {search.trials} cannot be: every arm tries as many distinct configurations, "
            f"and arm {least.sequence} has {sizes[least]} ({axes}); give 1 to {sizes[least]}"
        )


def require_taken_home(arms: tuple[cfg.SequenceMode, ...]) -> None:
    """Refuse to refit the best of controls alone.

    Raises:
        UserError: No arm is one that sharpens maps.
    """
    if not set(arms) & set(cfg.TAKEN_HOME):
        raise cfg.UserError(
            f"--refit with --arms {' '.join(arms)} has nothing to take home, as these are "
            "controls; add off (noseq) or on (seq) to --arms, or leave --refit out"
        )


def search_name(search: SearchConfig, manifest: Manifest) -> str:
    """Return the identity of a search on a shard set: what it is, and what it may try."""
    identity = replace(search, model=by_content(search.model))
    spaces = [cell.space(search) for cell in cells(manifest.coarse_bin_sizes, search)]
    return f"search-{cfg.digest([cfg.digest(identity), spaces, manifest.plan])}"
