"""Scores of a chromosome's windows, map against map, as training defines them and three more."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64
from scipy.stats import spearmanr
from torch import Tensor

from hicray.metrics.moments import Truth
from hicray.metrics.scores import SCORES, Scored
from hicray.windows.manifest import EPS
from hicray.windows.scales import separations, to_network

WINDOW_SCORES = ("mse", "mae", "psnr", "pearson", "spearman", *SCORES[2:])

Contacts = Float[np.ndarray, "windows rows cols"]
Usable = Bool[np.ndarray, "windows rows cols"]


class FineWindows(NamedTuple):
    """What windows of one chromosome are scored by.

    Attributes:
        contacts: Scaled contacts of the fine map.
        reads: Its raw counts; all 0 where they are not known, and bits per read is undefined.
        reads_per_contact: Reads that a scaled contact stands for; 0 where a bin is not usable.
        usable: Pixels that count.
        expected: Decay of the fine map over all its chromosomes: ``oe_pearson_fixed`` takes both
            maps by it, and a little of it is added where it is asked how likely reads are.
    """

    contacts: Contacts
    reads: Contacts
    reads_per_contact: Contacts
    usable: Usable
    expected: Float64[np.ndarray, " separations"]


def window_scores(fine: FineWindows, other: Contacts) -> pd.DataFrame:
    """Return a row per window of one chromosome with every score; NaN is undefined.

    Args:
        fine: What they are scored by.
        other: Scaled contacts of the map that is judged.
    """
    # SSIM sees what is not usable too: there it is 0 in both, as in training.
    maps = (np.where(fine.usable, x, 0.0) for x in (fine.contacts, other))
    target, prediction = (to_network(torch.from_numpy(x).float()) for x in maps)
    scored = Scored(groups=1, separations=len(fine.expected), eps=EPS)
    scored.add(prediction, _truth(fine, target))
    fixed = torch.from_numpy(fine.expected)[None]
    shared = scored.scores(scored.decays(), fixed)
    table = pd.DataFrame({name: np.asarray(values) for name, values in shared.items()})
    pairs = list(zip(target.numpy(), prediction.numpy(), fine.usable, strict=True))
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(table["mse"])  # the data range is 1 network unit
    return table.assign(
        mae=[float(np.abs(a[m] - b[m]).mean()) for a, b, m in pairs],
        psnr=psnr.where(np.isfinite(psnr)),  # of two equal maps it is infinite
        spearman=[_spearman(a[m], b[m]) for a, b, m in pairs],
    )[list(WINDOW_SCORES)]


def _truth(fine: FineWindows, target: Float[Tensor, "windows rows cols"]) -> Truth:
    zeros = torch.zeros(len(target), dtype=torch.int64)  # on the diagonal; of one chromosome
    by_distance = torch.from_numpy(fine.expected).float()
    return Truth(
        target=target,
        usable=torch.from_numpy(fine.usable),
        reads=torch.from_numpy(fine.reads).float(),
        reads_per_contact=torch.from_numpy(fine.reads_per_contact).float(),
        expected=to_network(by_distance[separations(zeros, target.shape[-1])]),
        diagonal=zeros,
        group=zeros,
    )


def _spearman(a: Float[np.ndarray, " pixels"], b: Float[np.ndarray, " pixels"]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
