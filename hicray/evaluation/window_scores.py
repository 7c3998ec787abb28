"""Scores of a chromosome's windows, map against map, as training defines them and three more."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64
from scipy.stats import spearmanr

from hicray.training.metrics import SCORES, Scored
from hicray.windows.manifest import EPS
from hicray.windows.scales import to_network

WINDOW_SCORES = ("mse", "mae", "psnr", "pearson", "spearman", *SCORES[2:])

Contacts = Float[np.ndarray, "windows rows cols"]
Usable = Bool[np.ndarray, "windows rows cols"]


def window_scores(
    fine: Contacts, other: Contacts, usable: Usable, expected: Float64[np.ndarray, " separations"]
) -> pd.DataFrame:
    """Return a row per window of one chromosome with every score; NaN is undefined.

    Args:
        fine: Scaled contacts of the fine map.
        other: Of the map that is judged.
        usable: Pixels that count.
        expected: Decay of the fine map over all its chromosomes, for ``oe_pearson_fixed``.
    """
    # SSIM sees what is not usable too: there it is 0 in both, as in training.
    maps = (np.where(usable, x, 0.0) for x in (fine, other))
    target, prediction = (to_network(torch.from_numpy(x).float()) for x in maps)
    scored = Scored(groups=1, separations=len(expected), eps=EPS)
    nothing = torch.zeros(len(fine), dtype=torch.int64)
    scored.add(prediction, target, torch.from_numpy(usable), nothing, nothing)
    fixed = torch.from_numpy(expected)[None]
    shared = scored.scores(scored.decays(), fixed)
    table = pd.DataFrame({name: np.asarray(values) for name, values in shared.items()})
    pairs = list(zip(target.numpy(), prediction.numpy(), usable, strict=True))
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(table["mse"])  # the data range is 1 network unit
    return table.assign(
        mae=[float(np.abs(a[m] - b[m]).mean()) for a, b, m in pairs],
        psnr=psnr.where(np.isfinite(psnr)),  # of two equal maps it is infinite
        spearman=[_spearman(a[m], b[m]) for a, b, m in pairs],
    )[list(WINDOW_SCORES)]


def _spearman(a: Float[np.ndarray, " pixels"], b: Float[np.ndarray, " pixels"]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
