"""Which search a report is of: two storages, one store, real windows; only training is left out."""

from dataclasses import replace

import pytest

from hicray.cli.compare import compare
from hicray.cli.search import tune
from hicray.config import DataConfig, Run, TrainConfig, Tune, UserError
from hicray.tracking.track import LAST_RUN, SEARCH, Store
from hicray.training import tune as searching
from tests.training.drivers import untrained


def test_a_search_that_is_run_again_after_another_reports_its_own_verdict(
    tiny_data: DataConfig, local_ray, tmp_path, monkeypatch
):
    monkeypatch.setattr(searching, "drive_trial", untrained)
    monkeypatch.setattr("hicray.cli.search.connect", lambda *_: None)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    gaps = {"a": 256, "b": 512}

    def searched(name: str) -> str:
        options = Tune(
            data=replace(tiny_data, coarse_bin_sizes=(gaps[name],)),
            train=TrainConfig(epochs=1, batch_size=4),
            run=Run(storage=str(tmp_path / name), tracking_uri=uri),
            arms=("off",),
            trials=1,
        )
        tune(options)
        return report(name)

    def report(name: str) -> str:
        return (tmp_path / name / "report" / "compare.md").read_text()

    first = searched("a")
    assert "**At 256->128 bp nothing can be said" in first
    assert "Distinct configurations tried at 256->128 bp: 1 of noseq." in first
    assert "**At 512->128 bp nothing can be said" in searched("b")
    assert searched("a") == first
    # Nor does `hicray compare STORAGE` take the other's, be it newer or named.
    compare(tmp_path / "b", uri)
    assert "**At 512->128 bp nothing can be said" in report("b")
    store = Store(uri, tmp_path)
    other = store.last_search(tmp_path / "b" / "shards").run_id
    with pytest.raises(UserError, match=rf"run {other} is a search of .*/b/shards, not of .*/a"):
        compare(tmp_path / "a", uri, other)
    assert report("a") == first
    with pytest.raises(UserError, match=r"/c does not exist; name the --storage"):
        compare(tmp_path / "c", uri)


def test_the_last_search_of_a_storage_is_the_one_that_was_run_last(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    shards = tmp_path / "a" / "shards"

    def run(name: str, at: str, place: str = str(shards)) -> str:
        tags = {"shards": place} | ({LAST_RUN: at} if at else {})
        return store.find_or_start(SEARCH, name, {}, tags)

    old, older = run("old", ""), run("older", "1000")
    assert old != older
    assert store.last_search(shards).run_id == old  # by the time at which it was started
    late = 10 * store.run(old).start_time
    assert run("older", str(late)) == older
    run("of another storage", str(late + 1), "/elsewhere/shards")
    assert store.last_search(shards).run_id == older
