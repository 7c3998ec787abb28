"""What an earlier commit left is found, opened and scored as it was then."""

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from hicray.comparison.report import compare
from hicray.config import DataConfig, ModelConfig, TrainConfig, TrialConfig, Tune, digest
from hicray.model import checkpoint
from hicray.tracking import track
from hicray.training.trial import trial_name
from hicray.windows.claim import plan_digest
from hicray.windows.manifest import read_manifest
from hicray.windows.reading import columns, read_rows, shard_at

BEFORE = Path(__file__).parent / "golden" / "before"
WHERE = "/tmp/hicray_before/store"
GAP = "512->128"


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """The storage of a search, moved here."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "mlflow.db") as database:
        for table in ("tags", "params"):
            database.execute(f"UPDATE {table} SET value = replace(value, '{WHERE}', '{folder}')")
    return folder


def test_a_comparison_of_old_trials_gives_the_old_scores(storage):
    store = track.open_store(storage, "", reading=True)
    (result,) = compare(store, storage).results
    expected = json.loads((BEFORE / "rows.json").read_text())["rows"]
    assert result.gap == GAP
    assert set(result.rows) == set(expected)
    for method, scores in expected.items():
        (run,) = result.rows[method].runs
        for score, value in scores.items():
            found = run.decay_error if score == "decay_error" else run.mean(score)
            then = float("nan") if value is None else value
            assert found == pytest.approx(then, rel=1e-5, abs=1e-7, nan_ok=True), (method, score)


def test_trials_are_found_again_by_the_same_names(storage):
    plan = read_manifest(storage / "shards").plan
    for folder in (storage / "trials").iterdir():
        (place,) = checkpoint.checkpoints(folder)
        progress = checkpoint.read_progress(place)
        assert trial_name(progress.trial, plan) == folder.name
        assert progress.plan == plan


def test_shards_are_read(storage):
    manifest = read_manifest(storage / "shards")
    for split in ("train", "val", "test"):
        files = manifest.files(split)
        rows = [t for f in files for t in read_rows(shard_at(storage / "shards", f), columns(512))]
        assert sum(map(len, rows)) == manifest.num_windows(split)


def test_data_sets_searches_and_trials_have_the_digests_that_they_had(tmp_path):
    contacts, genome = tmp_path / "a.mcool", tmp_path / "g.fa"
    contacts.write_bytes(b"map")
    genome.write_text(">chr1\nACGT\n")
    data = DataConfig(contacts=(str(contacts),), genome=str(genome))
    assert plan_digest(data) == "12215284c51c"
    assert digest(Tune()) == "56f9ac05cfca"
    trial = TrialConfig(coarse_bin_size=16_000, model=ModelConfig(), train=TrainConfig())
    assert trial_name(trial, "plan") == "seq-16000-2941f48ab9e7"
