"""A training worker in this process alone, or several in a process each, without Ray."""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
import ray.train.torch
import torch
import torch.distributed

from hicray.config import TrialConfig
from hicray.model.build import build
from hicray.training.data import Data
from hicray.training.optimizer import make_optimizer
from hicray.training.train import Loop, Worker, train_worker
from hicray.windows.manifest import ShardSet, read_manifest
from tests.alone import as_references, data_alone


def loop_alone(data: Data, trial: TrialConfig) -> Loop:
    """Return the loop of the only worker; a network that corrects its base starts to do so."""
    torch.manual_seed(trial.train.seed)
    manifest = data.manifest
    model = build(trial.model, **manifest.layout(trial.coarse_bin_size))
    if trial.model.residual:
        for parameter in model.head.pixels.out.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return Loop(trial, data, Worker(0, 1, torch.device("cpu")), model, make_optimizer(model, trial))


@dataclass
class RayTrain:
    """What a worker asks of Ray Train.

    Attributes:
        folder: Where the checkpoints that it reports are kept.
        rank: Of the worker.
        workers: How many there are.
        last: Newest checkpoint of an earlier process, if there is one.
        metrics: What it reported.
    """

    folder: Path
    rank: int = 0
    workers: int = 1
    last: Path | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Answer in Ray Train's place."""
        context = SimpleNamespace(
            get_world_rank=lambda: self.rank,
            get_local_rank=lambda: self.rank,
            get_world_size=lambda: self.workers,
        )
        patch.setattr(ray.train, "get_context", lambda: context)
        patch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
        patch.setattr(ray.train, "get_all_reported_checkpoints", self._reported)
        patch.setattr(ray.train, "report", self._report)
        as_references(patch)

    def _reported(self) -> list[SimpleNamespace]:
        if self.last is None:
            return []
        there = ray.train.Checkpoint.from_directory(self.last)
        return [SimpleNamespace(checkpoint=there, metrics={"epoch": 1})]

    def _report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        self.metrics.append(metrics)
        if checkpoint is not None:
            shutil.copytree(checkpoint.path, self.folder / f"epoch_{metrics['epoch']}")


def train_alone(
    trial: TrialConfig, shards: Path, folder: Path, rank: int = 0, last: Path | None = None
) -> list[dict[str, Any]]:
    """Run one of a trial's workers in this process; return what it reported."""
    train = RayTrain(folder, rank, trial.train.workers, last)
    with pytest.MonkeyPatch.context() as patch:
        train.stand_in(patch)
        train_worker({"trial": trial, "data": data_alone(ShardSet(shards, read_manifest(shards)))})
    return train.metrics


def train_together(trial: TrialConfig, shards: Path, folder: Path) -> None:
    """Run all of a trial's workers, a process each, as Ray Train would start them."""
    with tempfile.TemporaryDirectory() as meeting:
        together = (trial, shards, folder, f"file://{meeting}/meeting")
        # Not forked: autograd refuses to work in a fork of a process in which it has worked.
        torch.multiprocessing.start_processes(
            _one_of_many, together, nprocs=trial.train.workers, start_method="spawn"
        )


def _one_of_many(rank: int, trial: TrialConfig, shards: Path, folder: Path, meeting: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", meeting, timedelta(minutes=2), trial.train.workers, rank
    )
    train_alone(trial, shards, folder, rank)
    torch.distributed.destroy_process_group()
