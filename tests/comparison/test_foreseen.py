"""What is said before training is what comparing finds after it."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hicray.comparison.foreseen import check_data, foreseen
from hicray.config import DataConfig
from hicray.metrics.paired import paired_difference
from hicray.windows.enough import with_stride
from hicray.windows.reading import read_rows, shard_at
from tests.shared_data import shared_data

SAID = re.compile(r"(\d+) test windows in (\d+) blocks?: (.*)")


def said(config):
    counts, conclusion = foreseen(config)
    windows, blocks, more = SAID.fullmatch(conclusion).groups()
    return counts, (int(windows), int(blocks)), more


@pytest.fixture
def yeast():
    """Yeast in windows of 224 bins, two chromosomes to test."""
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool"))
    return DataConfig(
        contacts=(uri,),
        fine_bin_size=2_000,
        coarse_bin_sizes=(4_000, 8_000),
        window_bins=224,
        split="val=chrII,chrXI;test=chrVII,chrXIII",
    )


def test_too_few_windows_are_said_with_a_way_out(yeast):
    counts, test, more = said(with_stride(yeast))
    assert counts == (
        "windows of 224 bins of 2,000 bp: 480 to train, 3 in 2 blocks to val, 4 in 2 blocks to test"
    )
    assert test == (4, 2)
    found = re.fullmatch(
        r"no verdict, which takes 8 blocks; --window-bins (\d+) gives (\d+) in (\d+)", more
    )
    bins, windows, blocks = map(int, found.groups())
    followed = said(replace(yeast, window_bins=bins))
    assert followed[1] == (windows, blocks)
    assert followed[2] == "enough for a verdict, which takes 8 blocks"
    larger = said(replace(yeast, window_bins=bins + 16))
    assert larger[2].startswith("no verdict")


def test_the_way_out_of_a_set_that_is_too_short_is_the_split():
    uri = str(shared_data("fly_2L/s2_dm6_2L.mcool"))
    fly = DataConfig(
        contacts=(uri,),
        fine_bin_size=10_000,
        coarse_bin_sizes=(40_000,),
        window_bins=64,
        split="val=2L:0-3M;test=2L:20M-22M",
    )
    assert said(fly)[2].endswith("; no --window-bins gives 8, more to test by --split does")


def test_what_is_foreseen_is_what_is_cut_and_compared(tiny_data, tiny_shards):
    """Windows that are too little usable are out, as in shards; blocks are those of an interval."""
    folder, manifest = tiny_shards
    counts, (windows, blocks), _ = said(tiny_data)
    assert windows == manifest.num_windows("test")
    assert f"{manifest.num_windows('val')} in " in counts
    names = ["chrom", "row_start"]
    tables = [
        table.to_pandas()
        for shard in manifest.files("test")
        for table in read_rows(shard_at(folder, shard), names, 16)
    ]
    place = pd.concat(tables)[names]
    scores = {0: place.assign(score=np.arange(len(place), dtype=float))}
    none = {0: place.assign(score=0.0)}
    assert paired_difference(scores, none, "score").blocks == blocks


def test_windows_that_are_masked_do_not_count(yeast):
    """chrXII's rDNA is masked: of windows of 16 bins, some lie wholly in it."""
    rdna = replace(yeast, window_bins=16, split="val=chrII;test=chrXII:352K-608K")
    there = said(replace(rdna, min_usable=0.01))[1][0]
    assert 0 < said(replace(rdna, min_usable=0.9))[1][0] < there


def test_masks_of_maps_that_are_made_are_not_foreseen(yeast):
    for changed in ({"coarse_keep": 0.5}, {"raw": True}, {"coarse_bin_sizes": (6_000, 12_000)}):
        config = replace(yeast, window_bins=192, **changed)
        assert "2,000 bp: at most " in foreseen(config)[0]
    assert " at most " not in foreseen(yeast)[0]


def test_maps_of_one_genome_share_their_blocks(yeast, tmp_path):
    copy = tmp_path / "copy.mcool"
    copy.symlink_to(yeast.contacts[0])
    one = said(yeast)[1]
    assert said(replace(yeast, contacts=(*yeast.contacts, str(copy))))[1] == (2 * one[0], one[1])


def test_a_simulations_stride_is_its_own(tiny_data):
    config = replace(tiny_data, train_stride_bins=0)
    kept = foreseen(config)
    assert check_data(config, simulated=True)[-2:] == kept
    assert check_data(config)[-2:] == foreseen(with_stride(config)) != kept
