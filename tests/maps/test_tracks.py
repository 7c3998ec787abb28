"""Tracks by bin against a loop over their bases."""

import numpy as np
import pybigtools
import pytest

from hicray.config import UserError
from hicray.maps import tracks
from hicray.maps.tracks import Track, parse_tracks

SIZES = {"chr1": 1_013, "chr2": 300}
BIN = 50


def write(path, sizes, intervals):
    pybigtools.open(str(path), "w").write(sizes, iter(intervals))
    return str(path)


@pytest.fixture(scope="module")
def intervals():
    rng = np.random.default_rng(2)
    found, start = [], 0
    while start < SIZES["chr1"] - 40:
        end = start + int(rng.integers(1, 30))
        if rng.random() < 0.6:
            found.append(("chr1", start, end, float(rng.integers(0, 9))))
        start = end
    return [*found, ("chr2", 100, 150, 2.0)]


@pytest.fixture(scope="module")
def file(intervals, tmp_path_factory):
    return write(tmp_path_factory.mktemp("tracks") / "a.bw", SIZES, intervals)


@pytest.mark.parametrize("stretch", [1, 120, 1 << 20])
def test_bins_hold_signal_and_coverage_of_their_own_bases(file, intervals, monkeypatch, stretch):
    """However many bases are read at once; the last bin is shorter."""
    monkeypatch.setattr(tracks, "_STRETCH_BASES", stretch)
    values = np.full(SIZES["chr1"], np.nan)
    for chrom, start, end, value in intervals:
        if chrom == "chr1":
            values[start:end] = value
    bins = [values[i : i + BIN] for i in range(0, len(values), BIN)]
    found = Track(file).binned("chr1", BIN)
    np.testing.assert_allclose(found.signal, [np.nansum(b) / len(b) for b in bins])
    np.testing.assert_allclose(found.covered, [np.isfinite(b).mean() for b in bins])


def test_chromosomes_pair_up_with_or_without_chr(file):
    assert Track(file).names({"1": 1_013, "chr2": 300, "3": 10}) == {"1": "chr1", "chr2": "chr2"}


def test_another_assembly_is_refused(file):
    with pytest.raises(UserError, match=r"chr1 is 999 bp in the map but 1,013 bp in"):
        Track(file).names({"chr1": 999})
    with pytest.raises(UserError, match="has no chromosome of the map; it has chr1, chr2"):
        Track(file).names({"chrA": 999})


@pytest.mark.parametrize("content", [b"", b"no bigWig at all", None])
def test_what_is_no_bigwig_is_refused(tmp_path, content):
    path = tmp_path / "b.bw"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a bigWig"):
        Track(str(path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ctcf"], "does not name a track of its own"),
        (["=a.bw"], "does not name a track of its own"),
        (["a=a.bw", "a=b.bw"], "does not name a track of its own"),
        (["a=a.bed"], "is no bigWig by its name"),
    ],
)
def test_words_that_name_no_track_are_refused(words, said):
    with pytest.raises(UserError, match=said):
        parse_tracks(words)
