"""The main job with real parts: a search in its own process, killed halfway, and run again.

Its contact encoder is frozen at a file of weights, so that its tokens are computed once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow.pytorch
import pytest
import ray
import torch

from hicray.config import TrialConfig
from hicray.maps.genome import read_packed
from hicray.model.checkpoint import read_progress
from hicray.model.trained import trained_on
from hicray.predict.network import find as find_network
from hicray.simulation.simulate import Simulation
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from hicray.training.data import Data
from hicray.training.embeddings import find
from hicray.training.optimizer import make_optimizer
from hicray.training.train import Loop, Worker, network
from hicray.windows.manifest import GENOME, ShardSet, read_manifest
from hicray.windows.stream import open_windows
from tests.published import published_file

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "experiments" / "tune_encoder.py"
EPOCHS = 3


def command(simulation: Simulation, storage: Path, weights: Path) -> list[str]:
    options = {
        "--encoder": "frozen",
        "--encoder-weights": str(weights),
        "--contacts": str(simulation.contacts[0]),
        "--genome": str(simulation.genome),
        "--fine-bin-size": "128",
        "--coarse-bin-sizes": "512",
        "--window-bins": "64",
        "--train-stride-bins": "16",
        "--split": "val=chr5;test=chr6",
        "--storage": str(storage),
        "--trials": "1",
        "--epochs": str(EPOCHS),
        "--batch-size": "8",
        "--accumulate": "1",
        "--base-learning-rate": "0.032",
        "--depth": "1",
    }
    return [sys.executable, str(PROGRAM), *(word for pair in options.items() for word in pair)]


def checkpoints(storage: Path, arm: str) -> list[Path]:
    return sorted(storage.glob(f"trials/{arm}-*/checkpoint_*/trial.json"))


def kept(storage: Path) -> list[Path]:
    """Return what is not to be made again: the first cell's checkpoints, and the tokens."""
    return [*checkpoints(storage, "noseq"), *sorted(storage.glob("embeddings/*/*"))]


def histories(storage: Path) -> dict[str, list[dict[str, float]]]:
    """Return the longest history of every trial."""
    found: dict[str, list[dict[str, float]]] = {}
    for path in storage.glob("trials/*/checkpoint_*/trial.json"):
        history = json.loads(path.read_text())["history"]
        name = path.parent.parent.name
        found[name] = max(found.get(name, []), history, key=len)
    return found


@pytest.fixture(scope="module")
def searched(tiny_simulation: Simulation, tmp_path_factory) -> tuple[Path, str]:
    """Kill a search in its second cell, then run it again to its end."""
    storage = tmp_path_factory.mktemp("search") / "storage"
    weights = published_file(storage.parent / "weights.safetensors", window=64)
    words = command(tiny_simulation, storage, weights)
    log = storage.parent / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(words, start_new_session=True, stdout=file, stderr=file) as first,
    ):
        deadline = time.monotonic() + 400
        while not checkpoints(storage, "seq") and time.monotonic() < deadline:
            assert first.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime for path in kept(storage)}
    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=400)
    assert again.returncode == 0, again.stderr[-3000:]
    assert finished == {path: path.stat().st_mtime for path in kept(storage)}
    return storage, again.stdout


def test_the_search_ends_with_the_table_and_the_mlflow_line(searched):
    _, output = searched
    for row in ("upsampled coarse", "distance only", "coarse O/E x fine expected", "noseq", "seq"):
        assert f"| {row}" in output
    assert "512->128 bp, test (n = " in output
    assert "too few windows to say whether DNA helped" in output
    foreseen = output.index("3 test windows in 1 block: no verdict, which takes 8 blocks")
    assert foreseen < output.index("a run takes at most")
    assert "mlflow ui --backend-store-uri sqlite:///" in output.rstrip().splitlines()[-1]


def test_the_page_says_the_same_and_is_in_mlflow(searched):
    storage, _ = searched
    page = (storage / "report" / "compare.html").read_text()
    assert page.count("too few windows to say whether DNA helped") == 2
    store = Store(default_uri(storage), storage)
    names = {
        item.path
        for item in store.client.list_artifacts(store.last_search(storage / "shards").run_id)
    }
    assert {"compare.html", "compare.md", "loss_curves.png", "gain_by_separation.png"} <= names
    rows = json.loads((storage / "report" / "compare.json").read_text())["gaps"]["512->128"]["rows"]
    assert {name: len(runs) for name, runs in rows.items() if "seq" in name} == {
        "noseq": 1,
        "noseq, its map zeroed": 1,
        "seq": 1,
        "seq, shuffled DNA": 1,
        "seq, another locus' DNA": 1,
    }


def test_every_trial_has_every_epoch_once(searched):
    storage, _ = searched
    for history in histories(storage).values():
        assert [metrics["epoch"] for metrics in history] == list(range(1, EPOCHS + 1))


def test_mlflow_shows_each_trial_once_with_an_unbroken_axis(searched):
    storage, _ = searched
    store = Store(default_uri(storage), storage)
    runs = store.trials(store.last_search(storage / "shards").run_id)
    assert sorted(run.tags["sequence"] for run in runs) == ["noseq", "seq"]
    for run in runs:
        steps = [m.step for m in store.client.get_metric_history(run.run_id, "val_loss")]
        assert steps == list(range(1, EPOCHS + 1))
        assert run.tags["gap"] == "512->128"
        assert {"dataset", "mlflow.source.git.commit", "checkpoint"} <= run.tags.keys()
        assert run.params["model.depth"] == "1"
        assert len(run.metrics) < 50
        assert store.client.get_run(run.run_id).info.status == "FINISHED"


def test_the_best_checkpoint_of_each_cell_opens_as_a_model(searched):
    storage, _ = searched
    store = Store(default_uri(storage), storage)
    runs = [
        run
        for run in store.trials(store.last_search(storage / "shards").run_id)
        if "model" in run.tags
    ]
    assert {run.tags["sequence"] for run in runs} == {"noseq", "seq"}
    for run in runs:
        assert callable(mlflow.pytorch.load_model(run.tags["model"]))
        logged = find_network(run.tags["model"], tracking_uri=store.uri)
        saved = find_network(run.tags["checkpoint"])
        assert logged.trained == saved.trained
        assert logged.trained == trained_on(read_manifest(storage / "shards"), 512)
        ours, theirs = (found.open().module.state_dict() for found in (logged, saved))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())
        names = {item.path for item in store.client.list_artifacts(run.run_id)}
        assert {"loss_curves.png", "maps.png"} <= names


def test_interrupted_trials_end_as_undisturbed_ones(searched, local_ray):
    """The loop alone, without Ray Train, Tune or an interruption, on the same shards."""
    storage, _ = searched
    manifest = read_manifest(storage / "shards")
    for path in storage.glob("trials/*/checkpoint_*/trial.json"):
        progress = read_progress(path.parent)
        if progress.epoch < EPOCHS:
            continue
        shards = storage / "shards"
        tokens = find(progress.trial.model, ShardSet(shards, manifest), 512)
        assert tokens is not None
        train, val = (
            open_windows(ShardSet(shards, manifest), s, 512, tokens.folder)
            for s in ("train", "val")
        )
        dna = progress.trial.model.reads_dna
        genome = ray.put(read_packed(shards / GENOME)) if dna else None
        loop = plain_loop(progress.trial, Data(manifest, train, val, genome, tokens.form))
        for expected in progress.history:
            found = loop.epoch(expected["epoch"] - 1)
            for name in ("train_loss", "val_loss", "val_oe_pearson"):
                assert found[name] == pytest.approx(expected[name], rel=1e-5)


def plain_loop(trial: TrialConfig, data: Data) -> Loop:
    torch.manual_seed(trial.train.seed)
    model = network(trial, data)
    return Loop(trial, data, Worker(0, 1, torch.device("cpu")), model, make_optimizer(model, trial))
