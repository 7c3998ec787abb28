"""What tasks of a preparation read: contigs together, and only those that the split names."""

from pathlib import Path

import cooler
import h5py
import numpy as np
import pyarrow as pa
import pytest

from hicray.config import DataConfig
from hicray.maps import contacts as reading
from hicray.maps.bins import parse_split
from hicray.maps.split import grid_of, split_sets
from hicray.windows import parts
from hicray.windows.parts import UNITS, Job, Unit, cut_part, shard_rows, units_of
from hicray.windows.plan import layout_of
from hicray.windows.sources import open_sources
from tests.shared_data import write_map

BIN = 1_000
LONG = {"a": 90_000, "b": 40_000, "c": 40_000}
CONTIGS = {f"HLA-{i}*01:{i}-9": 300 + 1_700 * (i % 5) for i in range(60)} | {"last": 33_000}
SIZES = {"a": LONG["a"], **CONTIGS, "b": LONG["b"], "c": LONG["c"]}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> DataConfig:
    folder = tmp_path_factory.mktemp("contigs")
    base, path = write_map(folder / "base.cool", SIZES, BIN), folder / "map.mcool"
    cooler.zoomify_cooler(base, str(path), [BIN, 2 * BIN], chunksize=10**6)
    with h5py.File(path, "r+") as file:
        for level in file["resolutions"].values():
            level["bins/weight"] = np.linspace(0.5, 2, len(level["bins/start"]))
    return DataConfig(
        contacts=(str(path),),
        fine_bin_size=BIN,
        coarse_bin_sizes=(2 * BIN,),
        window_bins=32,
        train_stride_bins=8,
        split="train=a;val=b;test=c",
    )


def job_of(config, folder, units=None) -> Job:
    sources = open_sources(config, folder)
    sizes = sources[0].fine.chromsizes
    sets = split_sets(parse_split(config.split), sizes, grid_of(config))
    job = Job(
        config, str(folder), layout_of(config), sources, sets, {"train": 3, "val": 1, "test": 1},
        units or units_of(0, sizes, BIN),
    )  # fmt: skip
    (folder / "parts").mkdir()
    return job


def test_short_chromosomes_share_a_unit_and_long_ones_have_their_own():
    units = units_of(3, {"x": 500_000} | {f"c{i}": 900 for i in range(2_000)} | {"y": 80_000}, BIN)
    assert [chrom for unit in units for chrom in unit.chroms][1:2_001:500] == [
        "c0", "c500", "c1000", "c1500"
    ]  # fmt: skip
    assert units[0] == Unit(3, ("x",))
    assert len(units) <= UNITS
    assert max(len(unit.chroms) for unit in units) == pytest.approx(2_580 / UNITS, abs=2)
    assert units_of(0, LONG, BIN) == [Unit(0, (chrom,)) for chrom in LONG]


def test_contigs_that_the_split_does_not_name_are_counted_and_no_more(
    config, tmp_path, monkeypatch
):
    read, opened = [], []
    near, open_level = reading.ContactMap.near, reading.open_level
    monkeypatch.setattr(
        reading.ContactMap, "near", lambda self, *a, **k: read.append(a[0]) or near(self, *a, **k)
    )
    monkeypatch.setattr(reading, "open_level", lambda one: opened.append(one) or open_level(one))
    job = job_of(config, tmp_path)
    records = [cut_part(job, place) for place in range(len(job.units))]
    assert sorted(read) == ["a", "a", "b", "b", "c", "c"]
    assert len(opened) == 2  # one file of each bin size, for all units of this process
    for name, size in (("fine", BIN), ("coarse_2000", 2 * BIN)):
        clr = cooler.Cooler(f"{config.contacts[0]}::/resolutions/{size}")
        bins = clr.bins()[["chrom"]][:]["chrom"].to_numpy()
        cis = bins[:, None] == bins
        for at, balance in ((0, False), (1, True)):
            matrix = np.triu(clr.matrix(balance=balance)[:] * cis)
            found = sum(record["totals"][name][at] for record in records)
            assert found == pytest.approx(matrix.sum(), rel=1e-12)


def tables(job):
    for place in range(len(job.units)):
        cut_part(job, place)
    return {
        (split, index): pa.concat_tables(shard_rows(job, split, index)).sort_by("key")
        for split, many in job.num_shards.items()
        for index in range(many)
        if any(True for _ in shard_rows(job, split, index))
    }


@pytest.mark.parametrize("held", [1, 512])
def test_rows_do_not_depend_on_what_is_read_together(config, tmp_path, monkeypatch, held):
    monkeypatch.setattr(parts, "_ROWS_HELD", held)
    several = {**vars(config), "split": "train=a,last,b;val=HLA-4*01:4-9;test=c", "min_usable": 0.1}
    config = DataConfig(**several)
    found = []
    for name, units in (
        ("each", [Unit(0, (chrom,)) for chrom in SIZES]),
        ("all", [Unit(0, tuple(SIZES))]),
    ):
        folder = Path(tmp_path / name)
        folder.mkdir()
        found.append(tables(job_of(config, folder, units)))
    each, every = found
    # As text, in which NaN is NaN.
    assert {k: str(v.to_pylist()) for k, v in each.items()} == {
        k: str(v.to_pylist()) for k, v in every.items()
    }
    assert sum(len(rows) for (split, _), rows in each.items() if split == "train") > 10
    assert each["val", 0]["chrom"].to_pylist() == ["HLA-4*01:4-9"]
