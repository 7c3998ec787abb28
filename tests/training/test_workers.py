"""Real TorchTrainer runs of one and of two workers, through the real search."""

import pytest

from hicray.cluster import connection
from hicray.config import ModelConfig, TrainConfig, UserError
from hicray.metrics.scores import SCORES
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store, TrialRun
from hicray.training.space import SearchConfig
from hicray.training.trial import Resources
from hicray.training.tune import search
from hicray.windows.manifest import Manifest, ShardSet


def trained(tiny_shards, folder, workers: int) -> TrialRun:
    """Train for an epoch at a rate of 0, so that the weights stay what the seed made them."""
    shards, manifest = tiny_shards
    store = Store(default_uri(folder), folder / "artifacts")
    what = SearchConfig(
        model=ModelConfig(depth=1, dna_channels=8, residual=False),
        train=TrainConfig(
            epochs=1, workers=workers, batch_size=4, accumulate=1, base_learning_rate=0.0
        ),
        sequences=("on",),
        trials=1,
    )
    one_gap = Manifest(**{**vars(manifest), "coarse_bin_sizes": (512,)})
    parent = search(what, ShardSet(shards, one_gap), Resources(), store)
    (run,) = store.trials(parent)
    return run


@pytest.mark.slow
def test_one_and_two_workers_score_the_same_weights_the_same(tiny_shards, tmp_path):
    """An odd number of windows, so that the workers' shares differ."""
    manifest = tiny_shards[1]
    assert manifest.num_windows("val") % 2 == 1
    one, two = (trained(tiny_shards, tmp_path, workers).metrics for workers in (1, 2))
    assert one["val_windows"] == two["val_windows"] == manifest.num_windows("val")
    for name in SCORES:
        assert two[f"val_{name}"] == pytest.approx(one[f"val_{name}"], abs=1e-6)
    for workers, metrics in ((1, one), (2, two)):
        assert 0 <= metrics["dropped_windows"] < workers * 4


def test_what_the_cluster_cannot_give_is_refused_at_once(local_ray):
    with pytest.raises(UserError, match=r"99 workers need 100 CPU.*ask for fewer"):
        connection.require(99, 1.0, use_gpu=False)
    with pytest.raises(UserError, match="leave out --use-gpu"):
        connection.require(1, 1.0, use_gpu=True)
