import json
from dataclasses import replace

import numpy as np
import pytest

from hicray.config import UserError
from hicray.windows.manifest import (
    MANIFEST,
    Manifest,
    ShardFile,
    SourceInfo,
    read_manifest,
    write_json,
    write_manifest,
)


@pytest.fixture
def manifest():
    source = SourceInfo(
        contacts="a.mcool::/resolutions/128",
        fingerprint="ab",
        chromsizes={"chr1": 1_000, "chr2": 900},
        total_reads={"fine": 3_000_000_000, "coarse_256": 12},
        scale={"fine": 1 / 3, "coarse_256": 1e-17},
        caps={"fine": None, "coarse_256": 100.0},
        expected={"fine": [1.5, 0.1 + 0.2], "coarse_256": [0.0]},
    )
    shards = (
        ShardFile(file="train-00000.parquet", split="train", rows=4, sha256="00"),
        ShardFile(file="train-00001.parquet", split="train", rows=3, sha256="01"),
        ShardFile(file="val-00000.parquet", split="val", rows=2, sha256="02"),
    )
    return Manifest(
        plan="cafe",
        fine_bin_size=128,
        coarse_bin_sizes=(256,),
        window_bins=64,
        diagonal_only=True,
        raw=False,
        eps=1.0,
        splits={"chr1": "train", "chr2": "val"},
        genome={"path": "genome.fa", "fingerprint": "cd"},
        sources={"a": source},
        shards=shards,
        dropped={"train": 1, "val": 0},
    )


def test_a_manifest_reads_back_exactly(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_windows_and_shards_are_told_by_set(manifest):
    assert [manifest.num_windows(split) for split in ("train", "val", "test")] == [7, 2, 0]
    assert [shard.sha256 for shard in manifest.files("train")] == ["00", "01"]
    assert manifest.files("test") == []


def test_a_curve_is_what_is_expected_by_separation(manifest):
    np.testing.assert_array_equal(manifest.sources["a"].curve("fine"), [1.5, 0.1 + 0.2])


def test_a_folder_without_a_manifest_is_unfinished(tmp_path):
    with pytest.raises(UserError, match="hicray prepare"):
        read_manifest(tmp_path)


def test_shards_of_another_schema_are_refused(tmp_path, manifest):
    write_manifest(tmp_path, replace(manifest, schema_version=999))
    with pytest.raises(UserError, match="schema 999"):
        read_manifest(tmp_path)


def test_what_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "note.json"
    write_json(path, {"count": np.int64(3), "share": np.float64(0.25)})
    with pytest.raises(TypeError, match="set"):
        write_json(path, {"count": {1, 2}})
    assert json.loads(path.read_text()) == {"count": 3, "share": 0.25}
