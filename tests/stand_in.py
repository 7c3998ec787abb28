"""A map and a genome like yeast's, for clones without the real ones: sizes, levels and masks alike.

The contacts are drawn: a decay with distance, domains, loops between their ends, some contacts
between chromosomes, and bins that nothing maps to. So tests that hold code against a dense loop or
another library run anywhere; only those that say something of yeast itself need the real map.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import cooler
import numpy as np
import pandas as pd

from tests.shared_data import bgzf, write_fasta

LENGTHS = {
    "chrI": 230218, "chrII": 813184, "chrIII": 316620, "chrIV": 1531933, "chrV": 576874,
    "chrVI": 270161, "chrVII": 1090940, "chrVIII": 562643, "chrIX": 439888, "chrX": 745751,
    "chrXI": 666816, "chrXII": 1078177, "chrXIII": 924431, "chrXIV": 784333, "chrXV": 1091291,
    "chrXVI": 948066, "chrM": 85779,
}  # fmt: skip
"""Of the assembly sacCer3, in bp."""
BIN = 2_000
LEVELS = (BIN, 4_000, 8_000, 16_000)
UNMAPPED = 0.05
"""Share of the bins without a read."""
BETWEEN = 400_000
"""Reads between chromosomes."""


@cache
def stand_in() -> Path:
    """Return a folder with scer_w303_g1.mcool and sacCer3.fa.gz, made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="hicray-stand-in-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    bins = cooler.binnify(pd.Series(LENGTHS), BIN)
    seen = rng.random(len(bins)) >= UNMAPPED
    pixels = pd.concat([*_within(bins, rng), _between(bins, rng)])
    pixels = pixels[seen[pixels["bin1_id"]] & seen[pixels["bin2_id"]]]
    pixels = pixels.groupby(["bin1_id", "bin2_id"], as_index=False)["count"].sum()
    base = folder / "base.cool"
    cooler.create_cooler(str(base), bins, pixels, ordered=True, assembly="sacCer3")
    out = folder / "scer_w303_g1.mcool"
    cooler.zoomify_cooler(str(base), str(out), list(LEVELS), chunksize=10_000_000)
    for level in LEVELS:
        cooler.balance_cooler(
            cooler.Cooler(f"{out}::/resolutions/{level}"), store=True, mad_max=5, min_nnz=10
        )
    plain = write_fasta(folder / "sacCer3.fa", LENGTHS)
    bgzf(plain, folder / "sacCer3.fa.gz")
    return folder


def _within(bins: pd.DataFrame, rng: np.random.Generator) -> list[pd.DataFrame]:
    """Draw contacts within each chromosome, as far as they are not next to none."""
    tables = []
    for _, own in bins.groupby("chrom", observed=True):
        side, first = len(own), int(own.index[0])
        visible = rng.lognormal(0, 0.3, side)
        domain = np.cumsum(rng.random(side) < 0.08)
        rows, cols = np.triu_indices(side)
        near = cols - rows < 300
        rows, cols = rows[near], cols[near]
        rates = 60 / (1 + cols - rows) ** 1.05 * visible[rows] * visible[cols]
        rates *= np.where(domain[rows] == domain[cols], 1.6, 0.9)
        counts = rng.poisson(rates)
        kept = counts > 0
        ids = {"bin1_id": rows[kept] + first, "bin2_id": cols[kept] + first}
        tables.append(pd.DataFrame({**ids, "count": counts[kept]}))
    return tables


def _between(bins: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw contacts between any two bins, most of which lie on different chromosomes."""
    ends = np.sort(rng.integers(0, len(bins), (BETWEEN, 2)), axis=1)
    return pd.DataFrame({"bin1_id": ends[:, 0], "bin2_id": ends[:, 1], "count": 1})
