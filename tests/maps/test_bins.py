import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicray.config import UserError
from hicray.maps import split as regions
from hicray.maps.bins import NAMED_SPLITS, SPLIT_NAMES, Split, bare, num_bins, parse_split

HUMAN = [*map(str, range(1, 23)), "X"]


def assign(split, chroms):
    """The set of each whole chromosome."""
    sizes = dict.fromkeys(chroms, 1_000)
    sets = regions.assign(split, sizes, regions.Grid(window=100, step=10))
    assert all((one.start, one.end) == (0, 1_000) for one in sets)
    return {one.chrom: name for one, name in sets.items()}


@given(st.integers(1, 100_000), st.integers(1, 5_000))
def test_bins_cover_the_length_and_no_more(length, bin_size):
    assert num_bins(length, bin_size) == len(range(0, length, bin_size))


@pytest.mark.parametrize("name", NAMED_SPLITS)
def test_named_splits_are_disjoint_and_have_every_set(name):
    sets = assign(parse_split(name), HUMAN)
    named = [c for part in SPLIT_NAMES for c in getattr(NAMED_SPLITS[name], part) or ()]
    assert len(named) == len(set(named))
    assert set(sets.values()) == set(SPLIT_NAMES)
    assert all(sets[c] == "val" for c in NAMED_SPLITS[name].val)
    assert all(sets[c] == "test" for c in NAMED_SPLITS[name].test)


@pytest.mark.parametrize("name", NAMED_SPLITS)
def test_a_split_matches_names_with_and_without_chr(name):
    split = parse_split(name)
    with_chr = assign(split, [f"chr{c}" for c in HUMAN])
    assert {bare(chrom): part for chrom, part in with_chr.items()} == assign(split, HUMAN)
    assert all(chrom.startswith("chr") for chrom in with_chr)


def test_published_splits_hold_out_what_their_papers_held_out():
    assert assign(parse_split("orca"), HUMAN) == {
        c: {"8": "val", "9": "test", "10": "test"}.get(c, "train") for c in HUMAN
    }
    held_out = assign(parse_split("hicfoundation"), HUMAN)
    assert {c for c, part in held_out.items() if part != "train"} == {"4", "5", "11", "14"}


def test_a_split_of_ones_own_is_read_with_blanks_and_in_any_order():
    split = parse_split(" test = chrVII , chrXIII ;val=chrII; ")
    assert split == Split(None, ("chrII",), ("chrVII", "chrXIII"))
    assert parse_split("val=b;test=c;train=a") == Split(("a",), ("b",), ("c",))


def test_chromosomes_that_no_set_names_train_unless_train_is_given():
    chroms = ["c", "a", "d", "b"]
    assert assign(Split(None, ("a",), ("b",)), chroms) == {
        "c": "train", "a": "val", "d": "train", "b": "test",
    }  # fmt: skip
    given_sets = assign(Split(("d",), ("a",), ("b",)), chroms)
    assert list(given_sets.items()) == [("a", "val"), ("d", "train"), ("b", "test")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "nonsense",
        "val=a",
        "test=a",
        "train=a;test=b",
        "val=;test=b",
        "val=,;test=b",
        "val=a;val=c;test=b",
        "val=a;test=b;extra=c",
        "val=a;test=b;c",
    ],
)
def test_a_malformed_split_is_refused_with_what_there_is(text):
    with pytest.raises(UserError, match=r"is not known; name one of orca, .*'val=chrA,chrB;test="):
        parse_split(text)


@pytest.mark.parametrize(
    "text",
    [
        "val=a;test=a",
        "train=a,b;val=b;test=c",
        "val=a,a;test=b",
    ],
)
def test_a_chromosome_in_two_sets_is_refused(text):
    with pytest.raises(UserError, match="a chromosome belongs to one set"):
        parse_split(text)


def test_a_chromosome_that_the_map_lacks_is_refused_by_name():
    with pytest.raises(UserError, match=r"test chromosome chrZ is not in the map.*a, b; give --sp"):
        assign(parse_split("val=a;test=chrZ"), ["a", "b"])
