"""Enhanced maps at every zoom: a constant map stays constant, however it is masked."""

import cooler
import numpy as np
import pandas as pd
import pytest

from hicray.maps.contacts import open_map
from hicray.maps.write import write_enhanced

BIN, CONTACTS, UNIT = 10, 3.0, 1 / 1_650
BINS = {"chrA": 1_030, "chrB": 77}
"""Neither is a whole number of zoomed-out bins."""


@pytest.fixture
def masks(rng):
    masks = {chrom: rng.random(bins) < 0.8 for chrom, bins in BINS.items()}
    masks["chrA"][:8] = True
    masks["chrA"][8:16] = [True, False, False, False, False, False, False, False]
    masks["chrA"][16:24] = [True, False] * 4
    return masks


@pytest.fixture
def written(tmp_path, masks):
    """A map of 3 contacts at every pixel of two usable bins up to 200 bins apart."""
    sizes = pd.Series({chrom: bins * BIN for chrom, bins in BINS.items()})
    source = tmp_path / "bins.cool"
    empty = pd.DataFrame({"bin1_id": [0], "bin2_id": [0], "count": [1]})
    cooler.create_cooler(str(source), cooler.binnify(sizes, BIN), empty)
    tables, offset = [], 0
    for chrom, bins in BINS.items():
        near = np.triu(np.outer(masks[chrom], masks[chrom])) & ~np.triu(
            np.ones((bins, bins), bool), 201
        )
        rows, cols = np.nonzero(near)
        pixels = {"bin1_id": rows + offset, "bin2_id": cols + offset}
        tables.append(pd.DataFrame(pixels).assign(count=CONTACTS))
        offset += bins
    out = tmp_path / "out.mcool"
    contacts, said = open_map(str(source), BIN), {"by": "test"}
    write_enhanced(out, contacts, iter(tables), masks, said, unit=UNIT, assembly="hg38")
    return out


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_constant_map_is_constant_at_every_zoom(written, masks, factor):
    """Off the diagonal a pixel is 3 contacts for each pair of bins there, as if none were masked.

    Half-masked bins are shown so too; what is masked by more than half is not shown. Rows sum to
    as much at every zoom.
    """
    clr = cooler.Cooler(f"{written}::/resolutions/{factor * BIN}")
    assert clr.info["metadata"] == {"by": "test"}
    assert clr.info["genome-assembly"] == "hg38"
    for chrom, bins in BINS.items():
        own = np.arange(bins) // factor
        there, usable = np.bincount(own), np.bincount(own, masks[chrom])
        shown = usable >= there / 2
        assert not shown.all()
        expected = CONTACTS * np.outer(there, there) * UNIT / factor
        expected[~shown] = expected[:, ~shown] = np.nan
        found = clr.matrix(balance=True).fetch(chrom)
        for apart in range(1, 150 // factor):
            near = np.diagonal(found, apart), np.diagonal(expected, apart)
            np.testing.assert_allclose(*near, rtol=1e-6)


def test_zooms_go_on_until_the_longest_chromosome_fits_a_screen(written):
    levels = cooler.fileops.list_coolers(str(written))
    assert levels == [f"/resolutions/{BIN * factor}" for factor in (1, 2, 4, 8)]
