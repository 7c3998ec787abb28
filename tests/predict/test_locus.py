"""A sparse map through a network's eyes: its image is capped as in training."""

import cooler
import numpy as np
import pyarrow.parquet as pq
import pytest

from hicray.config import DataConfig, ModelConfig
from hicray.maps.contacts import open_map
from hicray.model.trained import trained_on
from hicray.predict.locus import Loci, measure
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from hicray.windows.collate import Collate
from hicray.windows.manifest import SPARSE_CAP
from tests import oracles
from tests.alone import prepare_alone
from tests.shared_data import write_holes, write_poisson
from tests.trained import write_checkpoint

BIN, GAP, WINDOW = 20_000, 2, 32
SIZES = dict.fromkeys(("chrA", "chrB", "chrC"), 96 * BIN)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A map of less than a read per base pair, whose nearest pixels are deeper than the cap."""
    folder = tmp_path_factory.mktemp("sparse")
    path = folder / "map.mcool"
    bins = dict.fromkeys(SIZES, 96)
    write_poisson(path, bins, (BIN, GAP * BIN), lambda apart: 2_000 / (1 + apart) ** 1.5)
    genome = write_holes(folder / "genome.fa", SIZES)
    config = DataConfig(
        contacts=(str(path),),
        genome=str(genome),
        fine_bin_size=BIN,
        coarse_bin_sizes=(GAP * BIN,),
        window_bins=WINDOW,
        split="val=chrB;test=chrC",
        raw=True,
    )
    return path, prepare_alone(config, folder / "shards"), folder


def capped_image(path, chrom, cap):
    """Upstream's image of a chromosome's first window: contacts a fine pixel, capped."""
    clr = cooler.Cooler(f"{path}::/resolutions/{GAP * BIN}")
    coarse = clr.matrix(balance=False).fetch(chrom)[: WINDOW // GAP, : WINDOW // GAP].astype(float)
    pixels = np.full(coarse.shape, float(GAP * GAP))
    np.fill_diagonal(pixels, GAP * (GAP + 1) / 2)
    fine = (coarse / pixels).repeat(GAP, axis=0).repeat(GAP, axis=1)
    return oracles.image(fine, on_diagonal=True, cap=cap)


def image(path, trained, folder):
    """The image that `enhance` shows a network which was trained so."""
    place = write_checkpoint(folder, ModelConfig(sequence="off"), trained)
    job = check(Enhance(checkpoint=str(place), contacts=str(path), out=folder / "out.mcool"))
    facts = measure(job.contacts, WINDOW // GAP, raw=True)
    loci = Loci(job.contacts, facts, job.network.trained)
    return loci.inputs("chrC", [(0, 0)]).image[0].numpy()


def test_enhancing_caps_the_image_where_training_did(sparse, tmp_path):
    path, manifest, _ = sparse
    contacts = open_map(str(path), BIN)
    assert sum(contacts.total(chrom) for chrom in SIZES) < sum(SIZES.values())
    expected = capped_image(path, "chrC", SPARSE_CAP)
    found = image(path, trained_on(manifest, GAP * BIN), tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(found, capped_image(path, "chrC", None), atol=0.1)


def test_training_sees_the_same_capped_image(sparse):
    path, manifest, folder = sparse
    (shard,) = manifest.files("test")
    collate = Collate(manifest, GAP * BIN)
    rows = pq.read_table(folder / "shards" / shard.file)
    first = rows["row_start"].to_pylist().index(0)
    batch = collate.decode(collate.compact(rows))
    expected = capped_image(path, "chrC", SPARSE_CAP)
    np.testing.assert_allclose(batch.image[first], expected, rtol=1e-5, atol=1e-5)
