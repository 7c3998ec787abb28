"""One trial: a TorchTrainer run under a name that its configuration decides.

The name is the identity: the same configuration on the same shards finds its own run again, goes
on from its last checkpoint, and is reported, not retrained, once it has finished.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from hicray.config import TrialConfig, UserError, digest, override
from hicray.io.lock import exclusive
from hicray.io.storage import Location
from hicray.metrics.objective import RANK, ranked
from hicray.model import checkpoint
from hicray.training.data import Data
from hicray.training.plateau import finished

DIVERGED = "diverged.txt"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a storage that the next try would meet again."""
_START_S = 900
"""Seconds in which workers have to start: a cloud's GPU nodes take minutes; Ray waits for one."""
LEAVING_S = 30.0
"""Seconds in which a trial's former driver has to go: Ray ends those of a killed search."""


@dataclass(frozen=True)
class Resources:
    """What one trial takes.

    Attributes:
        use_gpu: One GPU for each worker.
        cpus_per_worker: CPUs reserved for each.
        max_failures: Restarts from the last checkpoint before a trial is given up; those after
            a cloud's notice are not counted.
    """

    use_gpu: bool = False
    cpus_per_worker: float = 1.0
    max_failures: int = 3


def trial_name(trial: TrialConfig, plan: str) -> str:
    """Return e.g. ``seq-16000-3f2a...``: sequence mode, coarse bin size, digest.

    A refit's begins with ``refit-``.
    """
    identity = replace(trial, model=checkpoint.by_content(trial.model))
    kind = "refit-" if trial.refit_epochs else ""
    return f"{kind}{arm(trial)}-{trial.coarse_bin_size}-{digest([digest(identity), plan])}"


def arm(trial: TrialConfig) -> str:
    """Return seq, noseq, seq+tracks, or the name of the arm itself."""
    named = {"on": "seq", "off": "noseq", "on+tracks": "seq+tracks"}
    return named.get(trial.model.sequence, trial.model.sequence)


def drive_trial(
    chosen: dict[str, Any], first: TrialConfig, data: Data, folder: Location, resources: Resources
) -> None:
    """Train one trial inside a Tune trial, reporting every epoch to Tune.

    Args:
        chosen: What the searcher chose, by dotted name.
        first: Configuration that it overrides.
        data: Windows and genome.
        folder: Where trials keep their checkpoints.
        resources: What to train with.
    """
    trial = override(first, chosen)
    trial_folder = folder / trial_name(trial, data.manifest.plan)
    with _alone(trial_folder):
        _drive(trial, data, trial_folder, resources)


@contextlib.contextmanager
def _alone(folder: Location) -> Iterator[None]:
    """Keep a trial's folder to oneself: two drivers would write one another's checkpoints.

    A bucket has no lock that ends with a process; there the claim on the whole storage has to do.

    Raises:
        UserError: It is driven by another process, and still is after a while.
    """
    with contextlib.ExitStack() as held:
        if isinstance(folder, Path):
            _enter(held, folder)
        yield


def _enter(held: contextlib.ExitStack, folder: Path) -> None:
    deadline = time.monotonic() + LEAVING_S
    while True:
        try:
            return held.enter_context(exclusive(folder))
        except UserError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _drive(trial: TrialConfig, data: Data, folder: Location, resources: Resources) -> None:
    history = checkpoint.longest_history(folder)
    for metrics in history:
        tune.report(ranked(metrics))
    if finished(history, trial):
        return
    if fault := diverged(folder):
        raise FloatingPointError(fault)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(_START_S))
    trainer = ray.train.torch.TorchTrainer(
        worker_loop,
        train_loop_config={"trial": trial, "data": data},
        scaling_config=ray.train.ScalingConfig(
            num_workers=trial.train.workers,
            use_gpu=resources.use_gpu,
            resources_per_worker=_per_worker(resources),
        ),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            callbacks=[TuneReportCallback()],
            # A node that a cloud announces to take away counts as no failure: Ray Train trains on
            # until it goes, keeps an epoch that ends by then, and starts anew on another node.
            failure_config=ray.train.FailureConfig(max_failures=resources.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                # Besides the best one and the last: what to go back to if that is damaged.
                num_to_keep=2,
                checkpoint_score_attribute=RANK,
            ),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    if fault := trainer.fit().return_value:
        if isinstance(fault, FloatingPointError):
            (folder / DIVERGED).write_text(str(fault))
        raise fault


def diverged(folder: Location) -> str:
    """Return why a trial stopped for good; it would diverge again. Empty if it did not."""
    note = folder / DIVERGED
    return note.read_text() if note.is_file() else ""


def worker_loop(config: dict[str, Any]) -> Exception | None:
    """Train on one worker; return the error that ended it, if it would end it again.

    Ray Train starts a run that raises again from its last checkpoint, which helps neither one that
    diverged nor one that cannot write.
    """
    # timm brings torchvision: seconds of importing that a trial's driver and Ray Train's
    # controller, which load this module too, need not pay.
    from hicray.training.train import train_worker

    try:
        train_worker(config)
    except FloatingPointError as error:
        return error
    except OSError as error:
        if error.errno in UNWRITABLE:
            return error
        raise
    return None


def _per_worker(resources: Resources) -> dict[str, float]:
    gpus = {"GPU": 1.0} if resources.use_gpu else {}
    return {"CPU": resources.cpus_per_worker, **gpus}
