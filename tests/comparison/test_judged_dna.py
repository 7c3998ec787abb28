"""Which DNA each row of the table is computed from, letter by letter, as the network reads it."""

from collections import Counter
from itertools import pairwise

import pyfaidx
import pytest

from hicray.comparison.arms import score_arms
from hicray.comparison.results import SEQ, SHUFFLED, SWAPPED
from hicray.config import ModelConfig
from hicray.model.enhancer import Enhancer
from hicray.model.trained import trained_on
from tests.trained import write_checkpoint

COARSE, LENGTH = 512, 64 * 128


@pytest.fixture
def read(alone_shards, tmp_path, monkeypatch):
    """The rows of a seq network that nobody trained, and the DNA of every window it was shown."""
    manifest = alone_shards.manifest
    model = ModelConfig(depth=1, dna_channels=8)
    place = write_checkpoint(tmp_path / "seq", model, trained_on(manifest, COARSE))
    seen, forward = [], Enhancer.forward

    def watched(self, *args, **kwargs):
        seen.extend("".join("ACGTN"[code] for code in one) for one in kwargs["row_bases"].tolist())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Enhancer, "forward", watched)
    rows = score_arms({SEQ: [place]}, alone_shards, COARSE).rows
    return rows, Counter(seen)


def pairs(letters):
    return Counter(pair for pair in pairwise(letters) if "N" not in pair)


def test_a_seq_network_is_shown_its_own_shuffled_and_another_locus_dna(
    tiny_simulation, alone_shards, read
):
    rows, seen = read
    fasta = pyfaidx.Fasta(str(tiny_simulation.genome))
    (chrom,) = (name for name, split in alone_shards[1].splits.items() if split == "test")
    genome = str(fasta[chrom]).upper()
    starts = range(0, len(genome), LENGTH)[: alone_shards[1].num_windows("test")]
    own = [genome[start : start + LENGTH].ljust(LENGTH, "N") for start in starts]
    others = [letters for letters in seen if letters not in own]
    shuffled = [letters for letters in others if pairs(letters) in map(pairs, own)]
    swapped = [letters for letters in others if letters.rstrip("N") in genome]
    assert all(letters in seen for letters in own)
    assert len(shuffled) == len(own)
    assert len(swapped) == len(own)
    assert len(others) == 2 * len(own)
    errors = [rows[name].windows("mse") for name in (SEQ, SHUFFLED, SWAPPED)]
    assert all((a != b).all() for a, b in pairwise(errors))
