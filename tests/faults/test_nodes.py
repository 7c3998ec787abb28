"""Ray nodes that die, are taken away or come back: the run ends where an undisturbed one does."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hicray.model.checkpoint import WEIGHTS
from hicray.simulation.simulate import Simulation
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from tests.faults.nodes import Nodes, alive, ray_nodes
from tests.faults.processes import TRAIN, Command, data_options, hicray, run

pytestmark = pytest.mark.slow
EPOCHS = 16
"""Ray Train's watch for notices is an actor, which takes seconds to start beside the workers."""
NOTICE = 1
"""Seconds between a cloud's notice and the end of the node; a spot machine's are 120."""
SMALL_STEPS = [*TRAIN, "--batch-size", "1"]
"""Epochs of two seconds, to have a middle."""
TIMES = {"seconds", "data_wait_fraction"}
"""Metrics that say how long things took."""


class Run:
    """One training run with its storage folder.

    Args:
        simulation: What it trains on.
        folder: Where its storage lies; prepared shards are copied there.
        shards: Storage whose shards it takes.
        options: Further words of the command.
        before: Python that runs before it.
    """

    def __init__(
        self,
        simulation: Simulation,
        folder: Path,
        shards: Path | None,
        *options: object,
        before: str = "",
    ) -> None:
        self.storage, self.log = folder / "storage", folder / "log"
        if shards is not None:
            shutil.copytree(shards / "shards", self.storage / "shards")
        own = ["--storage", self.storage, "--epochs", EPOCHS, "--sequence", "off", *options]
        self.words = hicray("train", *data_options(simulation), *SMALL_STEPS, *own, before=before)

    def start(self, nodes: Nodes) -> Command:
        return Command(self.words, self.log, RAY_ADDRESS=nodes.address)

    def notes(self) -> dict[Path, list[dict[str, float]]]:
        """Return the history in each checkpoint that is whole."""
        found = {}
        for path in self.storage.glob("trials/*/checkpoint_*/trial.json"):
            try:
                found[path.parent] = json.loads(path.read_text())["history"]
            except (OSError, ValueError):
                continue  # being written or taken away
        return found

    def epochs(self) -> int:
        return max(map(len, self.notes().values()), default=0)

    def seconds(self) -> float:
        """Return how long the last epoch took."""
        return max(self.notes().values(), key=len)[-1]["seconds"]

    def history(self) -> list[dict[str, float]]:
        """Return what the last checkpoint says, without how long things took."""
        longest = max(self.notes().values(), key=len)
        return [{k: v for k, v in epoch.items() if k not in TIMES} for epoch in longest]

    def weights(self) -> dict[str, torch.Tensor]:
        notes = self.notes()
        return load_file(max(notes, key=lambda place: len(notes[place])) / WEIGHTS)

    def same_as(self, other: "Run") -> bool:
        """Return whether every metric and every weight is that of another run, to the bit."""
        ours, theirs = self.weights(), other.weights()
        equal = ours.keys() == theirs.keys() and all(
            torch.equal(ours[name], theirs[name]) for name in theirs
        )
        return equal and self.history() == other.history()

    def steps(self) -> list[int]:
        """Return the epochs that MLflow has of the one trial."""
        store = Store(default_uri(self.storage), self.storage / "artifacts")
        (trial,) = store.trials(store.last_search(self.storage / "shards").run_id)
        history = store.client.get_metric_history(trial.run_id, "val_loss")
        assert store.client.get_run(trial.run_id).info.status == "FINISHED"
        return [metric.step for metric in history]


@pytest.fixture(scope="module")
def undisturbed(tiny_simulation: Simulation, tmp_path_factory) -> Run:
    """What every run with one worker ends as."""
    one = Run(tiny_simulation, tmp_path_factory.mktemp("undisturbed"), None)
    run(one.words, one.log)
    return one


@pytest.fixture
def disturbed(tiny_simulation: Simulation, tmp_path: Path, undisturbed: Run) -> Run:
    return Run(tiny_simulation, tmp_path, undisturbed.storage)


def half_an_epoch_after(one: Run, command: Command, epochs: int) -> None:
    """Wait until so many epochs have ended and the run is in the middle of another."""
    command.wait_for(lambda: one.epochs() >= epochs)
    ended = 0
    while ended < one.epochs():  # again, where an epoch took less than half of the one before
        ended = one.epochs()
        time.sleep(one.seconds() / 2)
    assert ended < EPOCHS


def test_a_killed_worker_goes_on_from_the_last_epoch(disturbed: Run, undisturbed: Run):
    with ray_nodes() as nodes:
        nodes.add(cpus=2)
        with disturbed.start(nodes) as command:
            half_an_epoch_after(disturbed, command, 2)
            (worker,) = nodes.training()
            os.kill(worker, signal.SIGKILL)
            command.wait_for(lambda: nodes.training().keys() - {worker})
            command.end()
    assert not alive(worker)
    assert disturbed.same_as(undisturbed)
    assert disturbed.steps() == list(range(1, EPOCHS + 1))


def test_a_killed_node_costs_two_workers_no_epoch_and_no_window(
    tiny_simulation: Simulation, undisturbed: Run, tmp_path: Path
):
    killed, whole = (
        Run(tiny_simulation, tmp_path / name, undisturbed.storage, "--workers", 2)
        for name in ("killed", "whole")
    )
    with ray_nodes() as nodes:
        for _ in range(3):  # two for workers, as none holds both, and one for Ray Data
            nodes.add(cpus=1)
        with killed.start(nodes) as command:
            half_an_epoch_after(killed, command, 2)
            before = nodes.training()
            doomed = next(iter(before.values()))
            nodes.kill(doomed)
            nodes.add(cpus=1)
            command.wait_for(lambda: len(nodes.training().keys() - before.keys()) == 2)
            command.end()
        with whole.start(nodes) as command:
            command.end()
    assert len(before) == len({id(node) for node in before.values()}) == 2
    assert killed.steps() == list(range(1, EPOCHS + 1))
    assert killed.same_as(whole)


def test_a_node_that_is_taken_away_is_left_in_time(
    tiny_simulation: Simulation, undisturbed: Run, tmp_path: Path
):
    """The notice of a spot machine is no failure: a run that may not fail even once ends well."""
    none = (
        "from hicray.training.trial import Resources\n"
        "Resources.__init__.__defaults__ = (False, 1.0, 0)"
    )
    taken = Run(tiny_simulation, tmp_path, undisturbed.storage, before=none)
    with ray_nodes() as nodes:
        nodes.add(cpus=2)
        nodes.add(cpus=2)
        with taken.start(nodes) as command:
            half_an_epoch_after(taken, command, 1)
            ((worker, node),) = nodes.training().items()
            nodes.drain(node, seconds=NOTICE)
            # The deadline is the cloud's, which takes the node whether it was left or not.
            command.wait_for(lambda: nodes.training().keys() - {worker})
            nodes.kill(node)
            command.end()
    assert taken.same_as(undisturbed)
    assert taken.steps() == list(range(1, EPOCHS + 1))
    assert not list(taken.storage.rglob("error.txt")), "the trial itself failed, and was repeated"


def test_a_killed_head_started_again_goes_on(disturbed: Run, undisturbed: Run):
    with ray_nodes() as old:
        old.add(cpus=2)
        with disturbed.start(old) as command:
            half_an_epoch_after(disturbed, command, 2)
            old.kill(old.cluster.head_node)
        # The old worker's node lives on, and may still be training.
        before = disturbed.notes()
        with ray_nodes() as new:
            new.add(cpus=2)
            with disturbed.start(new) as command:
                command.end()
    assert max(map(len, before.values())) < EPOCHS
    assert disturbed.same_as(undisturbed)
    assert disturbed.steps() == list(range(1, EPOCHS + 1))


def test_a_folder_that_a_node_does_not_see_is_refused(tiny_simulation: Simulation, tmp_path: Path):
    one = Run(tiny_simulation, tmp_path, None)
    one.storage.mkdir()
    with ray_nodes() as nodes, nodes.blind(one.storage):
        nodes.add(cpus=2)
        with one.start(nodes) as command:
            said = command.end(2)
    assert f"does not see {one.storage}, which all nodes have to share" in said
    assert "Traceback" not in said
    assert not list(one.storage.glob("probe-*"))
    assert not (one.storage / "shards").exists()
