"""A training stride that nobody chose: short enough for a small genome, no shorter."""

from dataclasses import replace

import pytest

from hicray.windows import enough


@pytest.mark.parametrize(("wanted", "stride", "windows"), [(41, 8, 72), (73, 4, 140)])
def test_a_small_genomes_windows_overlap_until_they_are_enough(
    tiny_data, monkeypatch, wanted, stride, windows
):
    """Four chromosomes of 200 bins; of starts 0, 8, ... 136 there are 18, every 4 bins 35."""
    monkeypatch.setattr(enough, "ENOUGH_WINDOWS", wanted)
    found = enough.with_stride(replace(tiny_data, train_stride_bins=0))
    assert found.train_stride_bins == stride
    assert enough.most_windows(found) == windows


def test_windows_overlap_by_all_but_a_coarse_bin_at_most(tiny_data):
    assert enough.with_stride(replace(tiny_data, train_stride_bins=0)).train_stride_bins == 4


def test_a_large_genome_and_a_given_stride_stay_as_they_are(tiny_data, monkeypatch):
    assert enough.with_stride(tiny_data) == tiny_data
    monkeypatch.setattr(enough, "ENOUGH_WINDOWS", 40)
    large = replace(tiny_data, train_stride_bins=0)
    assert enough.with_stride(large) == large
