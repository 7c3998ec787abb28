"""Scores of a chromosome's windows, map against map, as training defines them and three more."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64
from scipy.stats import spearmanr

from hicray.training.metrics import SCORES, Scored
from hicray.training.moments import Truth
from hicray.windows.manifest import EPS
from hicray.windows.scales import to_network

WINDOW_SCORES = ("mse", "mae", "psnr", "pearson", "spearman", *SCORES[2:])

Contacts = Float[np.ndarray, "windows rows cols"]
Usable = Bool[np.ndarray, "windows rows cols"]


class FineWindows(NamedTuple):
    """What a chromosome's windows are scored by.

    Attributes:
        contacts: Scaled contacts.
        usable: Pixels that count.
        reads_per_contact: Reads that a contact stands for.
        expected: Decay of the map over all its chromosomes, for ``oe_pearson_fixed``.
    """

    contacts: Contacts
    usable: Usable
    reads_per_contact: Contacts
    expected: Float64[np.ndarray, " separations"]

    def reads(self) -> Contacts:
        """Return raw reads; none where a map has fractions of them, which no Poisson law draws."""
        reads = self.contacts * self.reads_per_contact
        whole: Contacts = np.rint(reads)
        if np.allclose(reads, whole, rtol=1e-6, atol=1e-3):
            return whole
        return np.zeros_like(reads)

    def truth(self) -> Truth:
        """Return it as training's scores take it."""
        side = self.contacts.shape[1]
        index = np.arange(side)
        apart = np.abs(index[:, None] - index)
        expected = np.broadcast_to(self.expected[apart], self.contacts.shape)
        nothing = torch.zeros(len(self.contacts), dtype=torch.int64)
        return Truth(
            target=_network(np.where(self.usable, self.contacts, 0.0)),
            usable=torch.from_numpy(self.usable),
            reads=torch.from_numpy(self.reads()).float(),
            reads_per_contact=torch.from_numpy(self.reads_per_contact).float(),
            expected=_network(expected),
            diagonal=nothing,
            group=nothing,
        )


def window_scores(fine: FineWindows, other: Contacts) -> pd.DataFrame:
    """Return a row per window of one chromosome with every score; NaN is undefined.

    Args:
        fine: Of the fine map.
        other: Scaled contacts of the map that is judged.
    """
    # SSIM sees what is not usable too: there it is 0 in both, as in training.
    truth, prediction = fine.truth(), _network(np.where(fine.usable, other, 0.0))
    scored = Scored(groups=1, separations=len(fine.expected), eps=EPS)
    scored.add(prediction, truth)
    fixed = torch.from_numpy(fine.expected)[None]
    shared = scored.scores(scored.decays(), fixed)
    table = pd.DataFrame({name: np.asarray(values) for name, values in shared.items()})
    pairs = list(zip(truth.target.numpy(), prediction.numpy(), fine.usable, strict=True))
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(table["mse"])  # the data range is 1 network unit
    return table.assign(
        mae=[float(np.abs(a[m] - b[m]).mean()) for a, b, m in pairs],
        psnr=psnr.where(np.isfinite(psnr)),  # of two equal maps it is infinite
        spearman=[_spearman(a[m], b[m]) for a, b, m in pairs],
    )[list(WINDOW_SCORES)]


def _network(contacts: Contacts) -> Float[torch.Tensor, "windows rows cols"]:
    return to_network(torch.from_numpy(contacts.astype(np.float32)))


def _spearman(a: Float[np.ndarray, " pixels"], b: Float[np.ndarray, " pixels"]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
