"""The driver killed in every verb: the same command goes on, and ends as if nothing had been.

`hicray tune`, killed in its second cell, is tests/test_search.py's.
"""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cooler
import numpy as np
import pytest
import torch

from tests.faults.processes import TRAIN, Command, data_options, hicray, run
from tests.published import published_file

pytestmark = pytest.mark.slow
EPOCHS = 3
NOT_THE_RESULT = ("seconds", "data_wait_fraction")
"""Metrics that no two runs share."""


class Verbs:
    """The command lines of one storage."""

    def __init__(self, simulation, storage: Path, weights: Path) -> None:
        self.storage, self.simulation = storage, simulation
        self.data = [*data_options(simulation), "--storage", storage]
        self.model = ["--encoder", "frozen", "--encoder-weights", weights]

    def prepare(self) -> list[str]:
        return hicray("prepare", *self.data)

    def embed(self) -> list[str]:
        return hicray("embed", *self.data, *self.model)

    def train(self) -> list[str]:
        own = ["--sequence", "off", "--epochs", EPOCHS]
        return hicray("train", *self.data, *self.model, *TRAIN, *own)

    def enhance(self) -> list[str]:
        (trial,) = self.storage.glob("trials/noseq-*")
        contacts = f"{self.simulation.contacts[0]}"
        own = ["--checkpoint", trial, "--contacts", contacts, "--out", self.out]
        return hicray("enhance", *own)

    @property
    def out(self) -> Path:
        return self.storage / "enhanced.mcool"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return published_file(tmp_path_factory.mktemp("weights") / "weights.safetensors", window=64)


@pytest.fixture(scope="module")
def undisturbed(tiny_simulation, weights, tmp_path_factory) -> Verbs:
    """A storage in which every command ran once, to its end."""
    verbs = Verbs(tiny_simulation, tmp_path_factory.mktemp("undisturbed") / "storage", weights)
    run(verbs.train(), verbs.storage.parent / "train")
    run(verbs.enhance(), verbs.storage.parent / "enhance")
    return verbs


@pytest.fixture(scope="module")
def killed(tiny_simulation, weights, tmp_path_factory) -> Verbs:
    """A storage in which every command is killed once; the tests go through them in order."""
    return Verbs(tiny_simulation, tmp_path_factory.mktemp("killed") / "storage", weights)


def kill_and_run_again(words: list[str], log: Path, begun: Callable[[], object]) -> None:
    """Kill a command and all its processes once it is well on its way; then run it to its end."""
    with Command(words, log) as command:
        command.wait_for(begun)
        command.kill()
    run(words, log.with_suffix(".again"))


def there(storage: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(storage.glob(pattern))


def contents(storage: Path, pattern: str) -> dict[str, bytes]:
    found = {str(path.relative_to(storage)): path for path in storage.glob(pattern)}
    assert found
    return {name: path.read_bytes() for name, path in found.items()}


def test_prepare(undisturbed, killed, tmp_path):
    begun = there(killed.storage, "shards/parts/*.json")
    kill_and_run_again(killed.prepare(), tmp_path / "log", begun)
    assert not list(killed.storage.glob("shards/**/*.unfinished"))
    for pattern in ("shards/*.parquet", "shards/manifest.json"):
        assert contents(killed.storage, pattern) == contents(undisturbed.storage, pattern)


def test_embed(undisturbed, killed, tmp_path):
    begun = there(killed.storage, "embeddings/*/*.parquet")
    kill_and_run_again(killed.embed(), tmp_path / "log", begun)
    assert not list(killed.storage.glob("embeddings/*/*.unfinished"))
    tokens = "embeddings/*/*"
    assert contents(killed.storage, tokens) == contents(undisturbed.storage, tokens)


def test_train_and_a_second_search_at_once(undisturbed, killed, tmp_path):
    with Command(killed.train(), tmp_path / "log") as first:
        first.wait_for(there(killed.storage, "trials/*/checkpoint_*/trial.json"))
        first.signal(signal.SIGSTOP)  # or it might end before the second is under way
        said = run(killed.train(), tmp_path / "second", code=2)
        assert f"{killed.storage} is in use by process {first.process.pid} on" in said
        first.kill()
    run(killed.train(), tmp_path / "again")
    ours, theirs = (last_checkpoint(verbs.storage) for verbs in (killed, undisturbed))
    assert history(ours) == history(theirs)
    assert len(history(ours)) == EPOCHS
    # What every later epoch would start from.
    weights = "weights.safetensors"
    assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
    ours, theirs = (torch.load(place / "optimizer.pt")["state"] for place in (ours, theirs))
    assert ours.keys() == theirs.keys()
    for key, state in theirs.items():
        assert all(torch.equal(ours[key][name], value) for name, value in state.items())


def last_checkpoint(storage: Path) -> Path:
    found = [path.parent for path in storage.glob("trials/*/checkpoint_*/trial.json")]
    return max(found, key=lambda place: len(history(place)))


def history(place: Path) -> list[dict[str, Any]]:
    epochs = json.loads((place / "trial.json").read_text())["history"]
    return [{k: v for k, v in epoch.items() if k not in NOT_THE_RESULT} for epoch in epochs]


def test_enhance(undisturbed, killed, tmp_path):
    begun = there(killed.storage, "*/*.npy")
    kill_and_run_again(killed.enhance(), tmp_path / "log", begun)
    assert sorted(path.name for path in killed.storage.glob("enhanced*")) == ["enhanced.mcool"]
    levels = cooler.fileops.list_coolers(str(undisturbed.out))
    assert cooler.fileops.list_coolers(str(killed.out)) == levels
    for level in levels:
        ours, theirs = (cooler.Cooler(f"{verbs.out}::{level}") for verbs in (killed, undisturbed))
        assert len(ours.pixels()[:])
        assert ours.pixels()[:].equals(theirs.pixels()[:])
        assert np.array_equal(ours.bins()[:]["weight"], theirs.bins()[:]["weight"], equal_nan=True)
