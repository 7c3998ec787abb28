"""What comparing the arms of one gap gives: rows of scores, and differences between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hicray.comparison.learning import Learning
from hicray.evaluation.window_set import SeparationBand, WindowScores
from hicray.maps.bins import SplitName
from hicray.metrics.paired import Difference, Runs
from hicray.metrics.scores import BITS, OBJECTIVE
from hicray.panels import Locus

JUDGED = (OBJECTIVE, BITS)
"""What a verdict rests on."""
SHOWN = ("mse", "pearson", "ssim", *JUDGED)
"""Scores of the tables."""
SEQ, NOSEQ, BLANK, COMPOSITION, ELSEWHERE = "seq", "noseq", "blank", "composition", "elsewhere"
TRACKS, BOTH = "tracks", "seq+tracks"
ARMS = (NOSEQ, BLANK, COMPOSITION, ELSEWHERE, TRACKS, SEQ, BOTH)
OTHER_TRACKS, MIXED_TRACKS = "tracks, another locus' tracks", "tracks, bins shuffled"
SHUFFLED, SWAPPED = "seq, shuffled DNA", "seq, another locus' DNA"
MAPLESS = "noseq, its map zeroed"
"""Noseq as it was trained, but that the transformer's map is 0: what the encoder adds is lost."""
RATES, SPLIT = "noise-free rates", "coarse counts split by the noise-free rates"
"""Rows that know a simulation's truth."""
UNTRAINED, HALVES = "no fine-tune", "half of the reads against the other"
CONTRASTS = (
    (SEQ, NOSEQ),
    (SEQ, BLANK),
    (SEQ, COMPOSITION),
    (SEQ, SHUFFLED),
    (SEQ, SWAPPED),
    (SEQ, ELSEWHERE),
    (SHUFFLED, NOSEQ),
    (SWAPPED, NOSEQ),
    (ELSEWHERE, NOSEQ),
    (COMPOSITION, NOSEQ),
    (BLANK, NOSEQ),
    (NOSEQ, MAPLESS),
    (TRACKS, NOSEQ),
    (BOTH, TRACKS),
    (BOTH, SEQ),
    (OTHER_TRACKS, NOSEQ),
    (MIXED_TRACKS, NOSEQ),
)
"""What is compared with what."""
GainBySeparation = Mapping[str, Mapping[SeparationBand, Difference]]
"""By judged score, then by band of separations."""


@dataclass(frozen=True)
class Row:
    """One method's scores.

    Attributes:
        by_seed: By training seed.
        trained: Whether it is; what is not has one run, which every training would find.
    """

    by_seed: Mapping[int, WindowScores]
    trained: bool = True

    @staticmethod
    def untrained(run: WindowScores) -> "Row":
        """Return the row of a method that is not trained."""
        return Row({0: run}, trained=False)

    @property
    def runs(self) -> tuple[WindowScores, ...]:
        """Runs, without their seeds."""
        return tuple(self.by_seed.values())

    @property
    def frames(self) -> Runs:
        """Windows of each run, by training seed; of what is not trained, its one table."""
        frames = {seed: run.windows for seed, run in self.by_seed.items()}
        return frames if self.trained else frames[0]

    def windows(self, score: str) -> np.ndarray:
        """Return each window's score, averaged over the seeds where it is defined."""
        return pd.concat([run.windows[score] for run in self.runs], axis=1).mean(axis=1).to_numpy()

    def over_seeds(self, score: str) -> float:
        """Return the standard deviation over seeds of the mean; NaN of a single one."""
        return float(pd.Series([run.mean(score) for run in self.runs]).std())

    @property
    def decay_error(self) -> float:
        """RMS error of the log decay, averaged over seeds."""
        return float(np.mean([run.decay_error for run in self.runs]))


@dataclass(frozen=True)
class GapResult:
    """Everything about one gap.

    Attributes:
        gap: e.g. '16000->4000', in bp.
        coarse_bin_size: In bp.
        split: Set whose windows were scored.
        rows: By method.
        differences: By pair of methods, then by score.
        by_separation: Seq minus noseq, by judged score and by band of separations in fine bins.
        settings: What each arm's networks are.
        examples: Maps of a few windows.
        curves: Training and validation loss by epoch, by arm.
        learning: Validation scores by epoch, by arm.
        leak: What published weights may have seen of the split; empty without any.
        best_filter: Row that did best on validation without a network; empty where none was fitted.
        tried: Distinct configurations that the search tried, by arm; empty without a search.
        left_out: Which control cannot be shown, and why; empty where none is missing.
        refit: What is to be known of a refit, which is in no row; empty without one.
    """

    gap: str
    coarse_bin_size: int
    split: SplitName
    rows: Mapping[str, Row]
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]
    by_separation: GainBySeparation
    settings: Mapping[str, str]
    examples: Sequence[Locus] = ()
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    learning: Learning = field(default_factory=dict)
    leak: str = ""
    best_filter: str = ""
    tried: Mapping[str, int] = field(default_factory=dict)
    left_out: str = ""
    refit: str = ""
