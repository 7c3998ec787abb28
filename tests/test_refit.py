"""Refits, with real parts: a search that refits is killed while it does, and run again."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cooler
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hicray.cli.main import main, tune_from_command_line
from hicray.comparison.arms import score_arms
from hicray.config import UserError
from hicray.evaluation.compared import checked, leaks, open_compared
from hicray.evaluation.options import Evaluate
from hicray.metrics.objective import rank
from hicray.model.checkpoint import Progress, best_checkpoint, load_weights, read_progress
from hicray.predict.network import find
from hicray.simulation.simulate import Simulation
from hicray.tracking.stores import default_uri
from hicray.tracking.track import REFIT, Store, TrialRun
from hicray.training.gaps import Gaps
from hicray.training.space import Cell
from hicray.windows.manifest import ShardSet, read_manifest
from tests.test_search import PROGRAM, plain_loop

CHROMS = tuple(f"chr{n}" for n in range(1, 7))


def command(simulation: Simulation, storage: Path) -> list[str]:
    options = {
        "--contacts": str(simulation.contacts[0]),
        "--arms": "off",
        "--fine-bin-size": "128",
        "--coarse-bin-sizes": "512",
        "--window-bins": "64",
        "--train-stride-bins": "16",
        "--split": "val=chr5;test=chr6",
        "--storage": str(storage),
        "--trials": "1",
        "--epochs": "3",
        "--batch-size": "1",
        "--accumulate": "4",
    }
    words = [word for pair in options.items() for word in pair]
    return [sys.executable, str(PROGRAM), *words, "--refit"]


def checkpoints(storage: Path) -> dict[Path, int]:
    """When each checkpoint was written."""
    notes = storage.glob("trials/*/checkpoint_*/trial.json")
    return {note.parent: note.stat().st_mtime_ns for note in notes}


@pytest.fixture(scope="module")
def refitted(tiny_simulation: Simulation, tmp_path_factory) -> tuple[Path, str]:
    """Kill a search while it refits, and run it again to its end; its folder's name has a space."""
    storage = tmp_path_factory.mktemp("refit") / "a lab's"
    words, log = command(tiny_simulation, storage), storage.parent / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(words, start_new_session=True, stdout=file, stderr=file) as first,
    ):
        deadline = time.monotonic() + 900
        while not checkpoints(storage / "refit") and time.monotonic() < deadline:
            assert first.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
    searched = checkpoints(storage)
    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert again.returncode == 0, again.stderr[-3000:]
    assert checkpoints(storage) == searched
    return storage, again.stdout


@pytest.fixture(scope="module")
def chosen(refitted) -> Progress:
    """What the search found to be the best on validation."""
    place = best_checkpoint(*refitted[0].glob("trials/*"))
    assert place is not None
    return read_progress(place)


@pytest.fixture(scope="module")
def last(refitted) -> Path:
    """The refit's last checkpoint."""
    (folder,) = refitted[0].glob("refit/trials/refit-noseq-512-*")
    place = best_checkpoint(folder)
    assert isinstance(place, Path)
    return place


@pytest.fixture(scope="module")
def run(refitted) -> TrialRun:
    storage, _ = refitted
    store = Store(default_uri(storage), storage)
    (one,) = store.trials(store.last_search(storage / "shards").run_id, REFIT)
    return one


def test_it_is_trained_for_as_many_epochs_as_the_search_was_best_after(chosen, last):
    progress = read_progress(last)
    assert rank(chosen.history[-1]) == max(map(rank, chosen.history))
    assert progress.trial.refit_epochs == progress.epoch == chosen.epoch
    assert (progress.trial.model, progress.trial.train) == (chosen.trial.model, chosen.trial.train)
    assert not [name for epoch in progress.history for name in epoch if name.startswith("val_")]


def windows(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["chrom"].to_pylist(), table["row_start"].to_pylist(), strict=True))


def every_window(shards: Path) -> set[tuple[str, int]]:
    """Windows of all files of a shard set, whatever set they are of."""
    return {one for file in shards.glob("*-*.parquet") for one in windows(pq.read_table(file))}


def test_it_saw_every_window_of_all_chromosomes_and_ends_as_an_undisturbed_one(
    refitted, last, local_ray
):
    """The loop alone, without Ray Train, Tune or a kill, on the same shards."""
    storage, _ = refitted
    shards, progress = storage / "refit" / "shards", read_progress(last)
    manifest, trial = read_manifest(shards), progress.trial
    data = Gaps(trial.model, ShardSet(shards, manifest), use_gpu=False).data(Cell(512, "off"))
    loop = plain_loop(trial, data)
    shown: Counter[tuple[str, int]] = Counter()
    read = loop.train_reader.shuffled

    def noted(*given: Any) -> Iterator[pa.Table]:
        for table in read(*given):
            shown.update(windows(table))
            yield table

    loop.train_reader.shuffled = noted
    for epoch, expected in enumerate(progress.history):
        found = loop.epoch(epoch)["train_loss"]
        assert found == pytest.approx(expected["train_loss"], rel=1e-5)
    every = every_window(shards)
    assert shown == Counter(dict.fromkeys(every, progress.epoch))
    assert {chrom for chrom, _ in every} == set(CHROMS)
    assert every_window(storage / "shards") < every
    theirs = plain_loop(trial, data).bare
    load_weights(last, theirs)
    # A step moves a weight by up to 2e-3.
    torch.testing.assert_close(loop.bare.state_dict(), theirs.state_dict(), rtol=1e-3, atol=1e-4)


def test_the_statement_says_what_it_saw_and_that_it_has_no_score(refitted, run):
    storage, said = refitted
    sentence = (
        "The network to take home, a refit of noseq at 512->128 bp, saw the training, validation "
        f"and test chromosomes for the {run.params['refit_epochs']} epochs after which noseq was "
        "best, and has no honest score of its own; it is expected to be no worse than noseq above"
    )
    assert said.count(sentence) == 1
    assert "has no honest score of its own" in (storage / "report" / "compare.html").read_text()


def test_nothing_that_is_compared_is_the_refit(refitted, run, last):
    storage, said = refitted
    store = Store(default_uri(storage), storage)
    assert run.name == last.parent.name
    assert (run.status, Path(run.tags["checkpoint"])) == ("FINISHED", last)
    assert not [name for name in run.metrics if name.startswith(("val_", "best_"))]
    steps = [m.step for m in store.client.get_metric_history(run.run_id, "train_loss")]
    assert steps == list(range(1, int(run.params["refit_epochs"]) + 1))
    (trial,) = store.trials(store.last_search(storage / "shards").run_id)
    assert (trial.params["refit_epochs"], trial.tags["sequence"]) == ("0", "noseq")
    assert "Distinct configurations tried at 512->128 bp: 1 of noseq." in said
    shards = storage / "shards"
    with pytest.raises(UserError, match="noseq is a refit, which saw the test chromosomes"):
        score_arms({"noseq": [last]}, ShardSet(shards, read_manifest(shards)), 512)


def test_asked_for_again_it_is_not_trained_again(
    refitted, tiny_simulation, local_ray, monkeypatch, run
):
    storage, _ = refitted
    before = checkpoints(storage / "refit")
    monkeypatch.setattr("hicray.cli.search.connect", lambda *_: None)
    monkeypatch.setattr(Gaps, "data", lambda *_: pytest.fail("windows were opened"))
    tune_from_command_line(command(tiny_simulation, storage)[2:])
    assert checkpoints(storage / "refit") == before
    store = Store(default_uri(storage), storage)
    assert store.trials(store.last_search(storage / "shards").run_id, REFIT) == [run]


def test_the_line_enhances_and_evaluate_says_what_the_network_saw(
    refitted, last, run, tiny_simulation, local_ray, tmp_path, monkeypatch
):
    (line,) = [one.strip() for one in refitted[1].splitlines() if "hicray enhance" in one]
    assert str(last.parent) in shlex.split(line)
    monkeypatch.setattr("hicray.cli.search.connect", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    main()
    (made,) = tmp_path.glob("*.mcool")
    assert cooler.Cooler(f"{made}::/resolutions/128").info["metadata"]["model"] == str(last)
    options = Evaluate(
        fine=f"{tiny_simulation.contacts[0]}::/resolutions/128",
        enhanced=(f"mine={made}",),
        chroms=("chr6",),
        window_bins=64,
    )
    (said,) = leaks(open_compared(checked(options)))
    assert said.startswith("leak: the network that made mine was trained on chr6, so that")


def test_mlflow_keeps_the_same_network(refitted, last, run):
    logged = find(run.tags["model"], tracking_uri=default_uri(refitted[0]))
    saved = find(str(last.parent))
    assert logged.trained == saved.trained
    assert logged.trained.chroms == CHROMS
    ours, theirs = (found.open().module.state_dict() for found in (logged, saved))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
