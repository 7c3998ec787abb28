"""Scores of predictors on the windows of one set, all in one pass and window by window."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hicray.maps.bins import SplitName
from hicray.training.metrics import SCORES, Scored, decay_error
from hicray.windows.batches import Batch, Collate
from hicray.windows.stream import columns, read_rows

Predictor = Callable[[Batch], Float[Tensor, "batch rows cols"]]


class HeldOut(NamedTuple):
    """One predictor's scores on one set.

    Attributes:
        windows: A row per window: group, row_start (bp), and every score (NaN: undefined).
        decay_error: RMS error of the log decay.
    """

    windows: pd.DataFrame
    decay_error: float

    def mean(self, score: str) -> float:
        """Return the mean over the windows where the score is defined."""
        return float(self.windows[score].mean())

    def deviation(self, score: str) -> float:
        """Return the standard deviation over windows."""
        return float(self.windows[score].std())


def score(
    predictors: Mapping[str, Predictor],
    shards: Path,
    split: SplitName,
    collate: Collate,
    coarse_bin_size: int,
    tokens: Path | None = None,
) -> dict[str, HeldOut]:
    """Score every predictor on every window of a set, each window once.

    Args:
        predictors: By name; they see the same batches.
        shards: Folder of the shard set.
        split: The set; 'test' is for the last table, never for a choice.
        collate: Of the gap.
        coarse_bin_size: The gap's coarse bins, in bp.
        tokens: Folder of stored tokens, for networks whose encoder is frozen.
    """
    expected = collate.fine_expected
    scored = {name: Scored(len(expected), expected.shape[1]) for name in predictors}
    places: list[pd.DataFrame] = []
    total = collate.manifest.num_windows(split)
    with tqdm(total=total, desc=f"score {split} {coarse_bin_size:,} bp", unit="window") as bar:
        for batch in batches(shards, split, collate, coarse_bin_size, tokens):
            for name, predict in predictors.items():
                scored[name].add(
                    predict(batch), batch.target, batch.usable, batch.diagonal, batch.group
                )
            places.append(_places(batch))
            bar.update(len(batch))
    where = pd.concat(places, ignore_index=True)
    return {name: _finish(one, where, collate) for name, one in scored.items()}


def batches(
    shards: Path,
    split: SplitName,
    collate: Collate,
    coarse_bin_size: int,
    tokens: Path | None = None,
    at_once: int = 16,
) -> Iterator[Batch]:
    """Yield a set in the order of its shards, on the GPU where there is one."""
    names = columns(coarse_bin_size)
    for shard in collate.manifest.files(split):
        beside = tokens / shard.file if tokens else None
        for rows in read_rows(shards / shard.file, names, beside, at_once):
            yield collate.decode(collate.compact(rows), device())


def device() -> str:
    """Return where windows are decoded and networks scored."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _places(batch: Batch) -> pd.DataFrame:
    return pd.DataFrame(
        {"group": batch.group.cpu().numpy(), "row_start": batch.row_start.cpu().numpy()}
    )


def _finish(scored: Scored, where: pd.DataFrame, collate: Collate) -> HeldOut:
    decays, eps = scored.decays(), collate.scale.eps
    scores = scored.scores(decays, collate.fine_expected, eps)
    values = {name: np.asarray(scores[name]) for name in SCORES}
    return HeldOut(where.assign(**values), decay_error(decays, eps))
