"""When a cell is done: real Tune and MLflow, with a driver that trains nothing."""

from functools import partial

import pytest

from hicray import config as cfg
from hicray.config import UserError
from hicray.io.lock import exclusive
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from hicray.training import state, trial
from hicray.training import tune as searching
from hicray.training.data import SEARCHED, Data
from hicray.training.gaps import Gaps
from hicray.training.searcher import DistinctSearch
from hicray.training.space import SearchConfig
from hicray.training.trial import Resources
from hicray.windows.stream import open_windows
from tests.training.drivers import FAILING, untrained
from tests.training.searches import one_gap_search

WHAT = SearchConfig(
    model=cfg.ModelConfig(),
    train=cfg.TrainConfig(epochs=1, ssim_weight=FAILING, batch_size=1),
    sequences=("off",),
    trials=2,
)


@pytest.fixture
def search(tiny_shards, local_ray, tmp_path, monkeypatch):
    """A search of one cell of two trials, the first of which fails."""
    monkeypatch.setattr(searching, "drive_trial", untrained)
    return partial(one_gap_search(tiny_shards, tmp_path), WHAT)


def test_a_cell_with_a_failed_trial_is_done_once_its_records_are_there(
    search, tmp_path, monkeypatch
):
    store = Store(default_uri(tmp_path), tmp_path)
    parent = search(store)
    runs = {run.status: run for run in store.trials(parent)}
    assert runs.keys() == {"FINISHED", "FAILED"}
    (note,) = tmp_path.glob(f"search/*/off-512/{state.ENDED}")
    assert state.ended(note.parent) == {run.name: status for status, run in runs.items()}
    # In another store its records are missing: they are sent.
    other = Store(f"sqlite:///{tmp_path}/other.db", tmp_path)
    again = other.trials(search(other))
    assert {run.status: run.name for run in again} == {s: run.name for s, run in runs.items()}

    def opened(*_):
        pytest.fail("windows were opened for a cell that is done")

    monkeypatch.setattr(Gaps, "data", opened)
    assert search(store) == parent  # done: a trial that failed is not tried again
    assert len(store.trials(parent)) == 2
    # Neither where a record is missing, nor where Tune has not ended all trials.
    store.resume(runs["FAILED"].run_id)
    with pytest.raises(pytest.fail.Exception, match="windows were opened"):
        search(store)
    store.finish(runs["FAILED"].run_id, "FAILED")
    search(store)
    note.unlink()
    with pytest.raises(pytest.fail.Exception, match="windows were opened"):
        search(store)


def test_a_second_driver_of_a_trials_folder_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "LEAVING_S", 0.6)
    with (
        exclusive(tmp_path / "seq-512-a"),
        pytest.raises(UserError, match=r"seq-512-a is in use by process \d+ on .*; wait for"),
        trial._alone(tmp_path / "seq-512-a"),
    ):
        pytest.fail("two drivers in one folder")
    with trial._alone(tmp_path / "seq-512-a"):
        pass


def test_a_trial_is_locked_while_it_is_driven(tiny_shards, tmp_path, monkeypatch):
    """By whoever drives it, before it reads or writes anything there."""
    monkeypatch.setattr(trial, "LEAVING_S", 0.0)
    config = cfg.TrialConfig(coarse_bin_size=512, model=cfg.ModelConfig(), train=cfg.TrainConfig())
    manifest = tiny_shards.manifest
    sets = (open_windows(tiny_shards, split, 512) for split in SEARCHED)
    data = Data(manifest, *sets)
    with (
        exclusive(tmp_path / trial.trial_name(config, manifest.plan)),
        pytest.raises(UserError, match="is in use by process"),
    ):
        trial.drive_trial({}, config, data, tmp_path, Resources())


def test_a_cell_that_lost_its_state_tries_what_it_tried_before(search, tmp_path, monkeypatch):
    """A searcher that learns in another order would ask for others, beyond the arm's number."""
    store = Store(default_uri(tmp_path), tmp_path)
    first = {run.name for run in store.trials(search(store))}
    (note,) = tmp_path.glob(f"search/*/off-512/{state.ENDED}")
    note.unlink()
    (note.parent / "tuner.pkl").write_bytes(b"")
    monkeypatch.setattr(searching, "DistinctSearch", lambda _, first: DistinctSearch(99, first))
    assert {run.name for run in store.trials(search(store))} == first
    (note,) = tmp_path.glob(f"search/*/off-512/{state.ENDED}")
