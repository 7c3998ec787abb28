"""Names that match exactly, and by 'chr' only where nothing does."""

import pytest

from hicray.config import UserError
from hicray.evaluation.baseline_plan import resolve as resolve_baselines
from hicray.evaluation.compared import checked
from hicray.evaluation.options import Baselines, Evaluate
from hicray.maps.bins import named_chrom
from hicray.maps.contacts import open_map
from hicray.maps.names import genome_names, named_chroms
from tests.shared_data import write_map

SIZES = {"1": 60_000, "chr1": 50_000, "chr2": 40_000, "3": 45_000}


@pytest.fixture(scope="module")
def contacts(tmp_path_factory):
    """A map that has both 1 and chr1."""
    path = write_map(tmp_path_factory.mktemp("map") / "map.cool", SIZES, 1_000, weights="weight")
    return open_map(path, 1_000)


@pytest.mark.parametrize(
    ("name", "chrom"),
    [("1", "1"), ("chr1", "chr1"), ("2", "chr2"), ("chr2", "chr2"), ("3", "3"), ("chr3", "3")],
)
def test_a_name_is_that_chromosome_and_by_chr_only_another(contacts, name, chrom):
    assert named_chrom(name, SIZES) == chrom
    assert named_chroms([name], contacts) == (chrom,)


def test_a_name_that_nothing_matches_is_refused(contacts):
    assert named_chrom("X", SIZES) is None
    with pytest.raises(UserError, match="no chromosome X; it has 1, chr1, chr2, 3: give names"):
        named_chroms(["1", "X"], contacts)


def test_an_evaluation_takes_chromosomes_by_either_name(contacts, tmp_path):
    uri = contacts.uri.partition("::")[0]

    def chosen(*chroms):
        options = Evaluate(fine=uri, enhanced=(f"a={uri}",), chroms=chroms, window_bins=32)
        return checked(options).chroms

    assert chosen("2", "chr1", "chr3", "1") == ("chr2", "chr1", "3", "1")
    with pytest.raises(UserError, match="must name chromosomes, each of them once"):
        chosen("2", "chr2")


def test_baselines_take_chromosomes_by_either_name(contacts, tmp_path):
    options = Baselines(
        contacts=contacts.uri.partition("::")[0],
        fine_bin_size=1_000,
        coarse_bin_size=2_000,
        train_chroms=("1", "chr3"),
        chroms=("2", "chr1"),
        window_bins=32,
    )
    plan = resolve_baselines(options)
    assert (plan.train, plan.chroms) == (("1", "3"), ("chr2", "chr1"))


def test_names_of_map_and_genome_pair_up_only_when_told_to():
    exact = genome_names(["chrA", "B"], ["A", "B"], match_chr=False)
    assert exact == {"B": "B"}
    either = genome_names(["chrA", "B", "chrC"], ["A", "chrB", "B"], match_chr=True)
    assert either == {"chrA": "A", "B": "B"}


def test_a_sequence_of_the_genome_is_taken_once():
    assert genome_names(["1", "chr1"], ["chr1"], match_chr=True) == {"chr1": "chr1"}
    assert genome_names(["chr1", "1"], ["1", "x"], match_chr=True) == {"1": "1"}
