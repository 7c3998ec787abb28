"""Regions of a split: read, kept a window apart, and refused in one sentence."""

import pytest

from hicray.config import UserError
from hicray.maps.bins import Region, parse_split
from hicray.maps.split import Grid, assign, named_region, region_name, split_sets

SIZES = {"chr2L": 23_513_712, "chr4": 1_348_131, "chrM": 19_524}
GRID = Grid(window=640_000, step=40_000)
ARM = "val=2L:0-3M;test=2L:18M-23M"


def sets(text, sizes=SIZES, grid=GRID):
    return {
        (one.chrom, one.start, one.end): name
        for one, name in split_sets(parse_split(text), sizes, grid).items()
    }


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2L:0-3000000", 0, 3_000_000),
        ("chr2L:0-3M", 0, 3_000_000),
        ("2L:500k-3mb", 500_000, 3_000_000),
        ("2L:500KB-3.25Mb", 500_000, 3_250_000),
        ("2L:0.0015k-2", None, None),
        ("2L:3M-3M", None, None),
        ("2L:3M-", None, None),
        ("2L:-3M", None, None),
        ("2L:0-3G", None, None),
        ("2L:1-2-3", None, None),
    ],
)
def test_positions_are_read_in_bp_thousands_and_millions(text, start, end):
    found = named_region(text, SIZES)
    assert found == (None if end is None else Region("chr2L", start, end))


def test_a_chromosome_named_like_a_region_is_that_chromosome():
    sizes = {"chr1:5-900": 895, "chr1": 2_000}
    assert named_region("chr1:5-900", sizes) == Region("chr1:5-900", 0, 895)
    assert region_name(Region("chr1:5-900", 0, 895), sizes) == "chr1:5-900"


def test_a_regions_name_is_read_as_that_region():
    for region in (Region("chr2L", 0, 23_513_712), Region("chr2L", 80_000, 1_400_000)):
        assert named_region(region_name(region, SIZES), SIZES) == region


def test_a_name_is_that_chromosome_and_by_chr_only_another():
    sizes = {"1": 1_000_000, "chr1": 900_000, "chr2": 800_000, "3": 700_000}
    right = {"1": "1", "chr1": "chr1", "2": "chr2", "chr2": "chr2", "3": "3", "chr3": "3"}
    for name, chrom in right.items():
        assert named_region(name, sizes) == Region(chrom, 0, sizes[chrom])
        assert named_region(f"{name}:0-100k", sizes) == Region(chrom, 0, 100_000)
    assert named_region("X", sizes) is None


def test_a_map_of_1_and_chr1_may_have_each_in_a_set_of_its_own():
    sizes = {"1": 1_000_000, "chr1": 900_000, "chr2": 800_000}
    found = sets("val=1;test=chr1", sizes)
    assert found == {("1", 0, 1_000_000): "val", ("chr1", 0, 900_000): "test"} | {
        ("chr2", 0, 800_000): "train"
    }


def test_what_is_left_of_an_arm_trains_less_a_window_on_either_side():
    assert sets(ARM, {"chr2L": SIZES["chr2L"]}) == {
        ("chr2L", 0, 3_000_000): "val",
        ("chr2L", 3_640_000, 17_360_000): "train",
        ("chr2L", 18_000_000, 23_000_000): "test",
    }


def test_chromosomes_that_are_not_cut_stay_whole_and_in_order():
    found = sets("val=chr4;test=2L:0-2M")
    assert list(found.items()) == [
        (("chr2L", 0, 2_000_000), "test"),
        (("chr2L", 2_640_000, 23_513_712), "train"),
        (("chr4", 0, 1_348_131), "val"),
    ]


def test_training_regions_that_are_named_keep_their_distance_too():
    found = sets("train=2L:3M-12M,2L:20M-21M;val=2L:1M-3M;test=2L:16M-20M")
    assert [one for one, name in found.items() if name == "train"] == [
        ("chr2L", 3_640_000, 12_000_000)
    ]


def test_regions_shrink_to_whole_coarse_bins_but_keep_the_chromosomes_end():
    found = sets("val=2L:50001-2M;test=2L:20M-23513712")
    assert ("chr2L", 80_000, 2_000_000) in found
    assert ("chr2L", 20_000_000, 23_513_712) in found


def test_neighbouring_regions_of_one_set_need_no_guard():
    found = sets("val=2L:0-1M,2L:1M-2M;test=2L:10M-12M")
    assert [one for one, name in found.items() if name == "val"] == [
        ("chr2L", 0, 1_000_000), ("chr2L", 1_000_000, 2_000_000)
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["2L:0-3,000,000", "2L:1,000,000-3M", "2L:0-300,000"])
def test_thousands_separators_are_refused(text):
    with pytest.raises(UserError, match=r"thousands separators.*2L:0-3000000 or 2L:0-3M$"):
        parse_split(f"val={text};test=2L:18M-23M")


def test_a_chromosome_of_three_digits_may_follow_a_region():
    assert parse_split("val=2L:0-3M,100;test=2L:5000000-8000000,101").val == ("2L:0-3M", "100")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val=2L:0-3M;test=2L:2M-5M", "val chr2L:0-3000000 and test .* overlap; name every"),
        ("val=2L:0-3M,2L:2M-5M;test=4", "val .* and val .* overlap"),
        ("val=2L:0-3M;test=2L", "val chr2L:0-3000000 and test chr2L overlap"),
        ("train=2L:2M-5M;val=2L:0-3M;test=4", "train .* and val .* overlap"),
        ("val=2L:0-3M;test=2L:3.6M-5M", "600,000 bp apart, .* a window, 640,000 bp, apart"),
        ("val=2L:0-3M;test=2L:18M-24M", "ends past chr2L, which has 23,513,712 bp"),
        ("val=2L;test=chr2L", "val chr2L and test chr2L overlap"),
        ("val=4;test=chr2L:0-3M,2L:1M-4M", "test .* and test .* overlap"),
        ("val=2L:0-600k;test=4", "holds 600,000 bp in whole coarse bins"),
        ("val=2L:10k-670k;test=4", "holds 600,000 bp in whole coarse bins"),
        ("val=3R:0-3M;test=4", "val chromosome 3R is not in the map, which has chr2L, chr4"),
        ("val=2L:0-3X;test=4", "val region 2L:0-3X cannot be read; give chrom:start-end"),
        ("val=2L:3M-1M;test=4", "cannot be read"),
    ],
)
def test_regions_that_cannot_be_are_refused(text, said):
    with pytest.raises(UserError, match=said) as caught:
        assign(parse_split(text), SIZES, GRID)
    assert "\n" not in str(caught.value)
