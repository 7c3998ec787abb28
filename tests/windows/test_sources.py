import hashlib
from dataclasses import replace

import cooler
import numpy as np
import pytest

from hicray.config import DataConfig, UserError
from hicray.io.copies import fingerprint
from hicray.windows.sources import coarse_name, open_sources, source_names

MEBIBYTE = 1 << 20


@pytest.fixture
def config(tiny_simulation):
    return DataConfig(
        contacts=(str(tiny_simulation.contacts[0]),),
        genome=str(tiny_simulation.genome),
        fine_bin_size=128,
        coarse_bin_sizes=(256, 512),
    )


def dense(contacts, chrom):
    return cooler.Cooler(contacts.uri).matrix(balance=False).fetch(chrom)


def blocks(matrix, factor):
    """Sum the upper triangle in blocks, the last ones short, and mirror it."""
    size = -(-len(matrix) // factor)
    summed = np.zeros((size, size), dtype=np.int64)
    for row, col in zip(*np.nonzero(np.triu(matrix)), strict=True):
        summed[row // factor, col // factor] += matrix[row, col]
    return summed + np.triu(summed, 1).T


def test_names_are_the_files_without_endings():
    assert source_names(("x/GM12878.hg38.mcool", "H1.mcool::/resolutions/4000")) == [
        "GM12878",
        "H1",
    ]


def test_files_of_one_name_get_numbers():
    names = source_names(("x/map.mcool", "y/map.mcool", "z/map_0.mcool"))
    assert len(set(names)) == 3


def test_a_map_given_twice_is_refused():
    with pytest.raises(UserError, match="given twice"):
        source_names(("a.mcool", "b.mcool", "a.mcool"))


def test_maps_are_named_as_columns_and_come_in_the_order_asked_for(config, tmp_path):
    (source,) = open_sources(replace(config, coarse_bin_sizes=(512, 256)), tmp_path)
    assert list(source.maps) == ["fine", coarse_name(512), coarse_name(256)]
    assert [contacts.bin_size for contacts in source.maps.values()] == [128, 512, 256]
    assert list(tmp_path.iterdir()) == []


def test_a_level_that_the_file_lacks_is_summed_from_the_fine_one(config, tmp_path):
    (source,) = open_sources(replace(config, coarse_bin_sizes=(256, 384)), tmp_path)
    assert [contacts.bin_size for contacts in source.maps.values()] == [128, 256, 384]
    for chrom in ("chr1", "chr3"):
        expected = blocks(dense(source.fine, chrom), 3)
        np.testing.assert_array_equal(dense(source.coarse[384], chrom), expected)
        assert np.isfinite(source.coarse[384].weights(chrom)).any()


@pytest.mark.parametrize("disjoint", [False, True])
def test_thinned_maps_are_made_once_and_add_up(config, tmp_path, disjoint):
    thinned = replace(
        config, coarse_bin_sizes=(128, 512), coarse_keep=0.25, disjoint_reads=disjoint
    )
    (whole,) = open_sources(config, tmp_path)
    (source,) = open_sources(thinned, tmp_path)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(made) == 1 + disjoint
    all_reads, kept = dense(whole.fine, "chr3"), dense(source.coarse[128], "chr3")
    assert kept.sum() / all_reads.sum() == pytest.approx(0.25, rel=0.02)
    fine = all_reads - kept if disjoint else all_reads
    np.testing.assert_array_equal(dense(source.fine, "chr3"), fine)
    np.testing.assert_array_equal(dense(source.coarse[512], "chr3"), blocks(kept, 4))
    (again,) = open_sources(thinned, tmp_path)
    assert again == source
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_another_seed_keeps_other_reads(config, tmp_path):
    first, second = (
        open_sources(
            replace(config, coarse_bin_sizes=(128,), coarse_keep=0.5, data_seed=seed),
            tmp_path / str(seed),
        )[0].coarse[128]
        for seed in (0, 1)
    )
    assert (dense(first, "chr1") != dense(second, "chr1")).any()


def test_a_small_file_is_told_by_all_of_it(tmp_path):
    path = tmp_path / "a.mcool"
    path.write_bytes(b"contacts")
    expected = hashlib.sha256(b"8contacts").hexdigest()
    assert fingerprint(str(path)) == fingerprint(f"{path}::/resolutions/128") == expected
    path.write_bytes(b"Contacts")
    assert fingerprint(str(path)) != expected


def test_a_large_file_is_told_by_its_size_its_ends_and_much_between(tmp_path):
    path = tmp_path / "large.mcool"
    size = 100 * MEBIBYTE
    with path.open("wb") as file:  # a hole: takes no space on disk
        file.truncate(size)
    seen = {fingerprint(str(path))}
    with path.open("r+b") as file:
        for place in (0, size // 2, size - MEBIBYTE):
            file.seek(place)
            file.write(b"x" * MEBIBYTE)
            file.flush()
            seen.add(fingerprint(str(path)))
        file.truncate(size + 1)
    seen.add(fingerprint(str(path)))
    assert len(seen) == 5
