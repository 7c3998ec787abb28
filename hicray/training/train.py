"""The worker loop.

Everything random is a pure function of (seed, epoch, rank): a killed run resumes at its last
epoch and ends where an undisturbed one does.
"""

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray.train
import ray.train.torch
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hicray.config import TrialConfig
from hicray.metrics.moments import Truth
from hicray.metrics.objective import ranked
from hicray.metrics.scores import Scored, Sums, decay_error
from hicray.model import checkpoint
from hicray.model.build import build, build_head
from hicray.model.checkpoint import Progress
from hicray.model.run import autocast, predict
from hicray.model.trained import trained_on
from hicray.training.augment import augmented
from hicray.training.averaged import AveragedAdamW
from hicray.training.calibration import WINDOWS, calibrate
from hicray.training.data import Data
from hicray.training.losses import loss
from hicray.training.optimizer import make_optimizer, move_to
from hicray.training.plateau import finished
from hicray.windows.batches import Batch
from hicray.windows.decoding import decoded
from hicray.windows.stream import Reader, Slice, train_slice, whole_slice

MAX_SKIPPED = 8
"""A run stops after so many steps in a row whose gradient is not finite."""
TRAIN_WINDOWS_SCORED = 256
"""Training scores are those of the last windows of an epoch, as predicted in passing."""


class Worker(NamedTuple):
    """Which worker this is."""

    rank: int
    workers: int
    device: torch.device

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor over all workers."""
        if self.workers > 1:
            tensor = tensor.to(self.device)
            torch.distributed.all_reduce(tensor)
        return tensor.cpu()


def train_worker(config: dict[str, Any]) -> None:
    """Train on one worker; Ray Train calls this on each."""
    trial, data = config["trial"], config["data"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    worker = Worker(rank, workers, ray.train.torch.get_device())
    torch.manual_seed(trial.train.seed)
    manifest = data.manifest
    # On its device before the optimizer's state is loaded, which goes where the parameters are.
    bare = network(trial, data).to(worker.device)
    frozen = trial.model.encoder == "frozen"
    weights = checkpoint.weights_digest(trial.model.encoder_weights) if frozen else ""
    trained = trained_on(manifest, trial.coarse_bin_size)
    history: list[dict[str, Any]] = []
    optimizer = make_optimizer(bare, trial)
    with _last_whole() as (folder, note):
        if folder is not None:
            history = checkpoint.read_progress(folder).history
            checkpoint.load_weights(folder, bare)
            checkpoint.load_optimizer(folder, optimizer)
    model = ray.train.torch.prepare_model(bare)
    loop = Loop(trial, data, worker, model, optimizer)
    while not finished(history, trial):
        metrics = loop.epoch(len(history)) | note
        note = {}
        history.append(metrics)
        _report(metrics, loop, Progress(trial, manifest.plan, history, weights, trained))


@contextmanager
def _last_whole() -> Iterator[tuple[Path | None, dict[str, str]]]:
    """Give the run's newest undamaged checkpoint, and what to say of damaged ones."""
    reported = ray.train.get_all_reported_checkpoints()  # in the order of scores
    note: dict[str, str] = {}
    for report in sorted(reported, key=lambda report: -report.metrics["epoch"]):
        saved = report.checkpoint
        with saved.as_directory() as folder:
            if not (fault := checkpoint.damage(Path(folder))):
                yield Path(folder), note
                return
        note = {"note": f"{saved.path} is damaged: {fault}; training went back to the one before"}
    yield None, note


def network(trial: TrialConfig, data: Data) -> nn.Module:
    """Build what is trained: the whole network, or its head where tokens are stored."""
    make = build if data.tokens is None else build_head
    manifest = data.manifest
    return make(trial.model, **manifest.layout(trial.coarse_bin_size))


def _report(metrics: dict[str, Any], loop: "Loop", progress: Progress) -> None:
    if loop.worker.rank:
        ray.train.report(ranked(metrics))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), loop.bare, loop.optimizer, progress)
        ray.train.report(ranked(metrics), checkpoint=ray.train.Checkpoint.from_directory(folder))


class Loop:
    """One worker's epochs.

    Args:
        trial: Configuration.
        data: Windows and genome.
        worker: Which worker this is.
        model: The network, wrapped for several workers.
        optimizer: Of its parameters.
    """

    def __init__(
        self,
        trial: TrialConfig,
        data: Data,
        worker: Worker,
        model: nn.Module,
        optimizer: AveragedAdamW,
    ) -> None:
        self.trial, self.worker, self.model, self.optimizer = trial, worker, model, optimizer
        self.bare = model.module if isinstance(model, DistributedDataParallel) else model
        self.collate = data.collate(trial)
        batch = trial.train.batch_size
        self.train_reader, self.val_reader = Reader(data.train, batch), Reader(data.val, batch)
        self.train_part = train_slice(data.train.rows, worker.rank, worker.workers, batch)
        self.val_part = whole_slice(data.val.rows, worker.rank, worker.workers)
        self.level_part = whole_slice(min(data.train.rows, WINDOWS), worker.rank, worker.workers)
        # All workers make as many steps, since they exchange gradients.
        share = self.train_part.end - self.train_part.start
        self.dropped, self.steps = data.train.rows - share * worker.workers, share // batch
        self.skipped, self.in_a_row, self.rate = 0, 0, 0.0

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train one epoch, validate if there are windows for it, and return the metrics of both.

        The network holds the mean of its weights afterwards, which was validated at its level.
        """
        began = time.monotonic()
        self.optimizer.train()
        trained = self._train(epoch)
        self.optimizer.eval()
        self._calibrate()
        scores = self.validate() if self.val_reader.windows.rows else {}
        return {
            "epoch": epoch + 1,
            **trained,
            **{f"val_{name}": value for name, value in scores.items()},
            "dropped_windows": self.dropped,
            "seconds": time.monotonic() - began,
        }

    def _calibrate(self) -> None:
        # The report calibrated nothing, and its loss trains as it did.
        if self.trial.train.loss != "report":
            batches = self.batches(self.train_reader, self.level_part)
            calibrate(self.bare, batches, self.inputs, self.worker.sum)

    def batches(self, reader: Reader, part: Slice, epoch: int | None = None) -> Iterator[Batch]:
        """Yield a slice as batches on the device; shuffled where an epoch is given."""
        seed = self.trial.train.seed
        tables = reader.ordered(part) if epoch is None else reader.shuffled(part, seed, epoch)
        yield from decoded(tables, self.collate, self.worker.device)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the arguments of the network that is trained, whole or a head."""
        return batch.arguments() if self.collate.tokens is None else batch.head_arguments()

    def _train(self, epoch: int) -> dict[str, float]:
        self.model.train()
        random = torch.Generator().manual_seed(self._seed(epoch))
        scored, losses, waited = self._scored(), [], 0.0
        self.skipped = 0
        began = last = time.monotonic()
        for step, batch in enumerate(self.batches(self.train_reader, self.train_part, epoch)):
            waited += time.monotonic() - last
            batch = augmented(batch, self.trial.train, random)
            losses.append(self._step(batch, step, epoch, scored))
            last = time.monotonic()
        finite = [value for value in losses if math.isfinite(value)]
        mean = self.worker.sum(torch.tensor([sum(finite), len(finite)], dtype=torch.float64))
        if not mean[1]:
            raise FloatingPointError(f"no loss of epoch {epoch + 1} was finite; {self._advice()}")
        scores, _ = self._scores(scored)
        return {
            "train_loss": float(mean[0] / mean[1]),
            **{f"train_{name}": value for name, value in scores.items()},
            "train_skipped_steps": self.skipped,
            "data_wait_fraction": waited / max(last - began, 1e-9),
            "learning_rate": self.rate,
        }

    def _step(self, batch: Batch, step: int, epoch: int, scored: Scored) -> float:
        config = self.trial.train
        moves = (step + 1) % config.accumulate == 0 or step + 1 == self.steps
        with self._without_sync(moves):
            with autocast(self.worker.device):
                prediction = self.model(**self.inputs(batch))
            # Not in bf16: SSIM takes differences of nearly equal moments.
            value = loss(prediction.float(), batch, config).mean()
            finite = math.isfinite(value.item())
            # NaN reaches the summed gradient, so that all workers skip a step that one cannot take.
            scale = 1 / self._summed(step) if finite else math.nan
            (value * scale).backward()  # type: ignore[no-untyped-call]  # torch
        if finite and step >= self.steps - math.ceil(TRAIN_WINDOWS_SCORED / config.batch_size):
            scored.add(prediction, Truth.of(batch))
        if moves:
            self._move(step, epoch)
        return float(value.detach())

    def _summed(self, step: int) -> int:
        """Return how many steps' gradients are summed with this one's: the last may be fewer."""
        first = step - step % self.trial.train.accumulate
        return min(self.trial.train.accumulate, self.steps - first)

    def _seed(self, epoch: int) -> int:
        entropy = [self.trial.train.seed, epoch, self.worker.rank]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _without_sync(self, moves: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients stay local until the optimizer moves."""
        if isinstance(self.model, DistributedDataParallel) and not moves:
            return self.model.no_sync()
        return nullcontext()

    def _move(self, step: int, epoch: int) -> None:
        config = self.trial.train
        per_epoch = math.ceil(self.steps / config.accumulate)
        done = epoch * per_epoch + step // config.accumulate
        self.rate = move_to(self.optimizer, config, done, per_epoch * config.epochs)
        # Of the summed gradient, so that all workers skip the same steps.
        norm = nn.utils.clip_grad_norm_(self.bare.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.in_a_row = 0
        else:
            self._skip(step, epoch)
        self.optimizer.zero_grad(set_to_none=True)

    def _skip(self, step: int, epoch: int) -> None:
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= MAX_SKIPPED:
            raise FloatingPointError(
                f"the gradient was not finite in {MAX_SKIPPED} steps in a row, up to step "
                f"{step + 1} of epoch {epoch + 1}; {self._advice()}"
            )

    def _advice(self) -> str:
        rate = self.trial.train.base_learning_rate
        return (
            f"lower --base-learning-rate (it is {rate:g}), or, if that does not help, look in the "
            "maps for values that are not finite"
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Score every validation window exactly once, over all workers."""
        self.bare.eval()
        scored, losses = self._scored(), torch.zeros(2, dtype=torch.float64)
        for batch in self.batches(self.val_reader, self.val_part):
            prediction = predict(self.bare, self.inputs(batch))
            scored.add(prediction, Truth.of(batch))
            window_losses = loss(prediction, batch, self.trial.train).double().cpu()
            losses += torch.stack([window_losses.sum(), torch.tensor(float(len(window_losses)))])
        total, windows = self.worker.sum(losses)
        scores, error = self._scores(scored)
        return {"loss": float(total / windows), **scores, "decay_error": error}

    def _scored(self) -> Scored:
        groups, separations = self.collate.fine_expected.shape
        return Scored(groups, separations, self.collate.manifest.eps)

    def _scores(self, scored: Scored) -> tuple[dict[str, float], float]:
        decays: Float64[Tensor, "groups separations 6"] = self.worker.sum(scored.decays())
        local = Sums.of(scored.scores(decays, self.collate.fine_expected))
        sums = Sums(self.worker.sum(local.table))
        return sums.means() | {"windows": sums.windows}, decay_error(decays, scored.eps)
