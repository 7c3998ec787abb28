"""Bases of windows and of their controls: counted by hand, read by pyfaidx."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyfaidx
import pytest

from hicray.config import UserError
from hicray.maps.genome import encode, read_packed
from hicray.windows.dna import (
    DnaReader,
    elsewhere,
    has_elsewhere,
    require_elsewhere,
    shuffle_dinucleotides,
)
from hicray.windows.manifest import GENOME

BIN, SIDE = 128, 64


def pairs(codes):
    known = codes[codes < 4].tolist()
    return Counter(pairwise(known))


@pytest.mark.parametrize("text", ["", "A", "ACGT", "AAAA", "ACACACGTGTNNACGT", "NNNN"])
def test_short_sequences_are_shuffled_without_a_loss(text, rng):
    codes = encode(text)
    found = shuffle_dinucleotides(codes, rng)
    assert pairs(found) == pairs(codes)
    assert np.array_equal(found == 4, codes == 4)


def test_shuffling_keeps_pairs_of_bases_and_nothing_longer(rng):
    codes = rng.choice(5, 20_000, p=[0.3, 0.19, 0.2, 0.3, 0.01]).astype(np.uint8)
    word = encode("GATTACAGATTACA")
    for start in range(0, 20_000, 200):
        codes[start : start + 14] = word
    found = shuffle_dinucleotides(codes, rng)
    assert pairs(found) == pairs(codes)
    assert np.array_equal(found == 4, codes == 4)
    assert np.mean(found == codes) < 0.4
    text = "".join("ACGTN"[code] for code in found)
    assert text.count("GATTACAGATTACA") <= 1


def test_every_place_may_change(rng):
    codes = rng.integers(0, 4, 60).astype(np.uint8)
    moved = np.zeros(60, dtype=bool)
    for seed in range(200):
        moved |= shuffle_dinucleotides(codes, np.random.default_rng(seed)) != codes
    assert moved[1:-1].mean() > 0.95


@pytest.fixture(scope="module")
def manifest(tiny_shards):
    """The small simulation, with two chromosomes to test on."""
    splits = tiny_shards[1].splits | {"chr4": "test"}
    return replace(tiny_shards[1], splits=splits)


def test_another_locus_is_of_the_same_set_whole_and_far_away(manifest):
    sizes = next(iter(manifest.sources.values())).chromsizes
    for chrom, split in manifest.splits.items():
        names = [name for name, one in manifest.splits.items() if one == split]
        half = sum(sizes[name] for name in names) // 2
        for start in range(0, sizes[chrom], 16 * BIN):
            there, first = elsewhere(manifest, chrom, start)
            assert manifest.splits[there] == split
            assert first % BIN == 0
            assert first >= 0
            assert first + SIDE * BIN <= sizes[there] + BIN
            if there == chrom:
                assert abs(first - start) > half // 2 - SIDE * BIN


def test_windows_that_overlap_see_one_consistent_other_locus(manifest):
    there, first = elsewhere(manifest, "chr1", 16 * BIN)
    assert elsewhere(manifest, "chr1", 32 * BIN) == (there, first + 16 * BIN)


def test_bases_are_those_of_the_file(tiny_simulation, tiny_shards, manifest):
    folder, _ = tiny_shards
    reader = DnaReader(read_packed(folder / GENOME), manifest, flank_bins=1)
    fasta = pyfaidx.Fasta(str(tiny_simulation.genome))
    start, size = 32 * BIN, (SIDE + 2) * BIN
    own, other, mixed = (
        reader.read(["chr4"], [start], dna)[0] for dna in ("own", "elsewhere", "shuffled")
    )
    first = start - BIN
    assert np.array_equal(own, encode(str(fasta["chr4"][first : first + size])))
    there, place = elsewhere(manifest, "chr4", start)
    expected = encode(str(fasta[there][place - BIN : place - BIN + size]))
    assert np.array_equal(other[: len(expected)], expected)
    assert pairs(mixed) == pairs(own)
    assert not np.array_equal(mixed, own)
    again = reader.read(["chr4"], [start], "shuffled")[0]
    assert np.array_equal(mixed, again)


def of_lengths(manifest, **bins):
    """The same with other chromosomes to test on, of so many bins."""
    (source,) = manifest.sources.values()
    sizes = {chrom: count * BIN for chrom, count in bins.items()}
    source = replace(source, chromsizes=dict(source.chromsizes) | sizes)
    splits = {c: s for c, s in manifest.splits.items() if s != "test"} | dict.fromkeys(bins, "test")
    return replace(manifest, sources={"map": source}, splits=splits)


@pytest.mark.parametrize(
    ("bins", "there"),
    [
        ({"one": SIDE}, False),
        ({"one": 2 * SIDE - 16}, False),
        ({"one": SIDE, "two": SIDE - 16}, False),
        ({"one": SIDE, "two": SIDE}, True),
        ({"one": 4 * SIDE}, True),
    ],
)
def test_a_set_shorter_than_two_windows_has_no_other_locus(manifest, bins, there):
    own = of_lengths(manifest, **bins)
    assert has_elsewhere(own, "test") is there
    shared = [
        (found == chrom and abs(first - start * BIN) < SIDE * BIN)
        for chrom, count in bins.items()
        for start in range(0, max(count - SIDE, 0) + SIDE, SIDE)
        for found, first in [elsewhere(own, chrom, start * BIN)]
    ]
    assert any(shared) is not there
    if not there:
        with pytest.raises(UserError, match="test chromosomes are so short"):
            require_elsewhere(own, 0)


def test_flanks_reach_further(manifest):
    assert not has_elsewhere(of_lengths(manifest, one=2 * SIDE), "test", flank_bins=SIDE)
