"""Whose DNA each arm is trained on, letter by letter from the FASTA."""

import pyfaidx
import pytest

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.windows.stream import Reader, whole_slice
from tests.alone import COARSE

BIN, LENGTH = 128, 64 * 128
"""Bases of a fine bin and of a window."""


def windows(data, sequence):
    """Return chromosome, start and letters of every training window of an arm."""
    model = ModelConfig(sequence=sequence)
    trial = TrialConfig(coarse_bin_size=COARSE, model=model, train=TrainConfig())
    everything = whole_slice(data.train.rows, 0, 1)
    (table,) = Reader(data.train, data.train.rows).ordered(everything)
    collate = data.collate(trial)
    bases = collate.decode(collate.compact(table)).row_bases
    letters = ["".join("ACGTN"[code] for code in one.tolist()) for one in bases]
    return zip(table["chrom"].to_pylist(), table["row_start"].to_pylist(), letters, strict=True)


@pytest.fixture
def genome(tiny_simulation):
    fasta = pyfaidx.Fasta(str(tiny_simulation.genome))
    return {chrom: str(fasta[chrom]).upper() for chrom in fasta.keys()}  # noqa: SIM118


@pytest.mark.parametrize("sequence", ["on", "composition"])
def test_arms_with_dna_are_trained_on_their_windows_own(alone, genome, sequence):
    for chrom, start, letters in windows(alone, sequence):
        assert letters == genome[chrom][start : start + LENGTH].ljust(LENGTH, "N")


def test_the_elsewhere_arm_is_trained_on_dna_from_half_a_set_away(alone, genome):
    """The training chromosomes, end to end: whole windows begin half of them further on."""
    chroms = [chrom for chrom, split in alone.manifest.splits.items() if split == "train"]
    joined = "".join(genome[chrom] for chrom in chroms)
    seen = 0
    for chrom, start, letters in windows(alone, "elsewhere"):
        own = genome[chrom][start : start + LENGTH]
        assert letters[: len(own)] != own
        before = sum(len(genome[one]) for one in chroms[: chroms.index(chrom)])
        place = (before + start + len(joined) // 2) % len(joined)
        there = joined.find(letters.rstrip("N"))
        # Starts are whole bins, and a window that would pass a chromosome's end begins earlier.
        assert place - LENGTH - BIN < there <= place
        seen += place - BIN < there
    assert seen > 20
